#include "ops/sru_scan.h"

#include <cmath>
#include <limits>

#include "ops/cpu/sru_scan.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// One way to call the scan.
struct Case {
  std::int64_t steps, batch, units;
  std::int64_t planes = 3;
  SruScanOptions options;
  bool weight_per_step = false;
  bool with_c0 = true;
  bool with_mask_c = false;
  bool with_mask_pad = false;
  bool offset = false;
};

std::vector<Variable> parameters(const Case& c, DType dtype, Generator& generator) {
  const auto make = [&](const Shape& shape, double scale = 1.0) {
    return random_parameter(shape, dtype, generator, -scale, scale, c.offset);
  };
  const std::int64_t units = c.units;
  std::vector<Variable> in(5);
  in[0] = make({c.steps, c.batch, c.planes * units}, 2.0);
  if (c.options.has_skip_term && c.planes == 3) {
    in[1] = make({c.steps, c.batch, units});
  }
  in[2] = make(c.weight_per_step ? Shape{c.steps, c.batch, 2 * units} : Shape{2 * units});
  in[3] = make({2 * units});
  if (c.with_c0) {
    in[4] = make({c.batch, units});
  }
  return in;
}

std::vector<Variable> run(const Case& c, std::span<const Variable> in) {
  SruScanInputs inputs{in[0], in[1], in[2], in[3], in[4], Tensor(), Tensor()};
  if (c.with_mask_c) {
    inputs.mask_c = Tensor::empty({c.batch, c.units}, DType::f64);
    for (std::int64_t i = 0; i < inputs.mask_c.numel(); ++i) {
      inputs.mask_c.data<double>()[i] = i % 3 == 0 ? 0.0 : 1.25;
    }
    inputs.mask_c = inputs.mask_c.to(in[2].dtype()).to(in[0].device());
  }
  if (c.with_mask_pad) {
    inputs.mask_pad = Tensor::zeros({c.steps, c.batch}, DType::boolean);
    for (std::int64_t b = 0; b < c.batch; ++b) {
      for (std::int64_t t = 0; t < c.steps; ++t) {  // the end, and holes
        inputs.mask_pad.data<bool>()[t * c.batch + b] =
            t >= c.steps - b % c.steps || (t + 2 * b) % 5 == 3;
      }
    }
    inputs.mask_pad = inputs.mask_pad.to(in[0].device());
  }
  const SruScanOutputs out = sru_scan(inputs, c.options);
  return {out.h, out.c_last};
}

// The outputs, and the gradients when the outputs' own are the outputs themselves.
std::vector<Tensor> run_and_differentiate(const Case& c, std::span<const Variable> in) {
  std::vector<Tensor> results;
  for (std::size_t output = 0; output < 2; ++output) {
    const Variable root = run(c, in)[output];
    results.push_back(root.value());
    backward(root, root.value());
  }
  for (Variable parameter : in) {
    if (parameter.defined()) {
      results.push_back(parameter.grad());
      parameter.zero_grad();
    }
  }
  return results;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const bool tanh : {false, true}) {
    for (const bool skip : {true, false}) {
      for (const bool bidirectional : {false, true}) {
        for (const std::int64_t half_units : {1, 3, 17}) {
          Case c{5, 3, half_units * (bidirectional ? 2 : 1), 3, {}};
          c.options = {tanh ? Activation::tanh : Activation::identity, skip, bidirectional, 1.3};
          all.push_back(c);
          c.with_mask_c = c.with_mask_pad = c.offset = true;
          c.planes = skip ? 4 : 3;
          all.push_back(c);
          c.weight_per_step = true;
          c.with_c0 = false;
          all.push_back(c);
        }
      }
    }
  }
  return all;
}

}  // namespace

TEST_CASE("sru_scan computes the equations of one unit", "[ops][sru_scan]") {
  // Two steps by hand, with every gate at sigmoid(0) = 1/2 because weights and biases are zero.
  const auto given = [](const std::vector<double>& values, const Shape& shape) {
    return Variable(on_test_device(Tensor::from(values, shape)));
  };
  const SruScanInputs inputs{given({4, 0, 0, 1, 0, 0}, {2, 1, 3}),
                             given({1, 3}, {2, 1, 1}),
                             given({0, 0}, {2}),
                             given({0, 0}, {2}),
                             given({2}, {1, 1}),
                             Tensor(),
                             Tensor()};
  const SruScanOutputs out = sru_scan(inputs);
  // c: 4 + (2-4)/2 = 3, then 1 + (3-1)/2 = 2; h: 1 + (3-1)/2 = 2, then 3 + (2-3)/2 = 2.5
  REQUIRE(same_bits(out.h.value(), Tensor::from<double>({2, 2.5}, {2, 1, 1})));
  REQUIRE(same_bits(out.c_last.value(), Tensor::from<double>({2}, {1, 1})));
}

TEST_CASE("sru_scan has the right gradients in every variant", "[ops][sru_scan][gradient]") {
  Generator generator(11);
  for (const Case& c : cases()) {
    if (test_device().is_cuda() && c.units > 6) {
      continue;  // differences take long there; "agrees with the CPU" has the larger sizes
    }
    INFO("units " << c.units << " tanh " << (c.options.activation == Activation::tanh) << " skip "
                  << c.options.has_skip_term << " planes " << c.planes << " bidirectional "
                  << c.options.bidirectional << " per step " << c.weight_per_step);
    require_gradients([&](std::span<const Variable> in) { return run(c, in); },
                      parameters(c, DType::f64, generator));
  }
}

TEST_CASE("sru_scan in f32 agrees with f64, forward and backward", "[ops][sru_scan]") {
  // A GPU's exponential and division are fast ones.
  const double tolerance = test_device().is_cuda() ? 5e-6 : 2e-6;
  Generator generator(12);
  for (Case c : cases()) {
    c.steps = 33;
    c.units *= 5;  // past one vector, with a rest
    if (c.options.bidirectional) {
      c.units += c.units % 2;
    }
    const std::vector<Variable> narrow = parameters(c, DType::f32, generator);
    std::vector<Variable> wide;
    for (const Variable& p : narrow) {
      wide.push_back(p.defined() ? Variable(p.value().to(DType::f64), true) : Variable());
    }
    for_thread_counts([&] {
      const std::vector<Variable> a = run(c, narrow);
      const std::vector<Variable> b = run(c, wide);
      REQUIRE(max_relative_error(a[0].value(), b[0].value()) < tolerance);
      REQUIRE(max_relative_error(a[1].value(), b[1].value()) < tolerance);
      backward(a[0], Tensor::full(a[0].shape(), 1.0, DType::f32, test_device()));
      backward(b[0], Tensor::full(b[0].shape(), 1.0, DType::f64, test_device()));
      for (std::size_t i = 0; i < narrow.size(); ++i) {
        if (narrow[i].defined()) {
          // Sums over 33 steps and 3 batch entries of terms up to about 3.
          REQUIRE(max_relative_error(narrow[i].grad(), wide[i].grad()) < 10 * tolerance);
        }
      }
    });
  }
}

TEST_CASE("sru_scan gives the same bits again, with one thread and with two", "[ops][sru_scan]") {
  Generator generator(13);
  const Case c{9, 3, 1031, 3, {}};
  const std::vector<Variable> in = parameters(c, DType::f32, generator);
  std::vector<Tensor> first;
  const auto run_again = [&] {
    const std::vector<Tensor> results = run_and_differentiate(c, in);
    first = first.empty() ? results : first;
    for (std::size_t i = 0; i < results.size(); ++i) {
      REQUIRE(same_bits(results[i], first[i]));
    }
  };
  for_thread_counts(run_again);
  for_thread_counts(run_again);
}

TEST_CASE("sru_scan in pieces equals the whole", "[ops][sru_scan]") {
  Generator generator(14);
  for (const std::int64_t units : {19, 64}) {
    const Case c{12, 2, units, 3, {}};
    const std::vector<Variable> in = parameters(c, DType::f32, generator);
    const std::vector<Variable> whole = run(c, in);
    Variable state = in[4];
    for (const auto& [start, length] : std::vector<std::pair<int, int>>{{0, 5}, {5, 1}, {6, 6}}) {
      const SruScanOutputs piece = sru_scan({Variable(in[0].value().narrow(start, length)),
                                             Variable(in[1].value().narrow(start, length)), in[2],
                                             in[3], state, Tensor(), Tensor()});
      REQUIRE(same_bits(piece.h.value(), whole[0].value().narrow(start, length)));
      state = piece.c_last;
    }
    REQUIRE(same_bits(state.value(), whole[1].value()));
  }
}

TEST_CASE("the vectorised SRU row follows the plain one for any length", "[ops][sru_scan][cpu]") {
  Generator generator(15);
  for (const std::int64_t n : {1, 3, 7, 16, 17, 40}) {
    for (const cpu::SruVariant variant :
         {cpu::SruVariant{Activation::identity, true}, cpu::SruVariant{Activation::tanh, true},
          cpu::SruVariant{Activation::identity, false}, cpu::SruVariant{Activation::tanh, false}}) {
      // Gates far into saturation and beyond the range of exp are part of the test.
      const Tensor in = random_tensor({9, n}, DType::f32, generator, -120.0, 120.0, true);
      cpu::SruForwardRow<float> row{};
      row.u0 = in[0].data<float>();
      row.u1 = in[1].data<float>();
      row.u2 = in[2].data<float>();
      row.x = in[3].data<float>();
      row.scale_x = 1.5F;
      row.weight_forget = in[4].data<float>();
      row.weight_reset = in[5].data<float>();
      row.bias_forget = in[6].data<float>();
      row.bias_reset = in[7].data<float>();
      row.c_previous = in[8].data<float>();
      Tensor plain = Tensor::zeros({2, n + 1});
      Tensor vectorised = Tensor::zeros({2, n + 1});
      row.c = plain[0].data<float>();
      row.h = plain[1].data<float>();
      cpu::sru_forward_row_plain(row, n, variant);
      row.c = vectorised[0].data<float>();
      row.h = vectorised[1].data<float>();
      cpu::sru_forward_row(row, n, variant);
      REQUIRE(max_relative_error(vectorised, plain) < 1e-6);
      REQUIRE(vectorised[0].data<float>()[n] == 0.0F);  // nothing is written past the end
      REQUIRE(vectorised[1].data<float>()[n] == 0.0F);
    }
  }
}

TEST_CASE("sru_scan lets a NaN through", "[ops][sru_scan]") {
  const auto given = [](const Tensor& tensor) { return Variable(on_test_device(tensor)); };
  for (int plane = 0; plane < 3; ++plane) {
    Tensor u = Tensor::zeros({1, 1, 3});
    u.data<float>()[plane] = std::numeric_limits<float>::quiet_NaN();
    const SruScanOutputs out =
        sru_scan({given(u), given(Tensor::full({1, 1, 1}, 1.0)), given(Tensor::zeros({2})),
                  given(Tensor::zeros({2})), given(Tensor::full({1, 1}, 3.0)), Tensor(), Tensor()});
    REQUIRE(std::isnan(out.h.value().item()));
  }
}

TEST_CASE("sru_scan explains shapes that do not fit", "[ops][sru_scan]") {
  const Variable bias(Tensor::zeros({512}));
  SruScanInputs in{Variable(Tensor::zeros({64, 8, 1000})),
                   Variable(),
                   bias,
                   bias,
                   Variable(),
                   Tensor(),
                   Tensor()};
  REQUIRE(error_of([&] { sru_scan(in); }) ==
          "[sru_scan] u has shape [64, 8, 1000]; its last size must be 3*D or 4*D with D = 256, "
          "half of bias [512]");
  in.u = Variable(Tensor::zeros({64, 8, 768}));
  REQUIRE_THAT(error_of([&] { sru_scan(in); }), ContainsSubstring("x is missing"));
  in.x = Variable(Tensor::zeros({64, 8, 255}));
  REQUIRE_THAT(error_of([&] { sru_scan(in); }),
               ContainsSubstring("x has shape [64, 8, 255]; expected [64, 8, 256]"));
}

TEST_CASE("sru_scan needs no gradients to be wanted", "[ops][sru_scan]") {
  Generator generator(16);
  const Case c{6, 2, 40, 3, {}};
  std::vector<Variable> in = parameters(c, DType::f32, generator);
  const std::vector<Tensor> all = run_and_differentiate(c, in);
  {
    const NoGradGuard no_grad;
    const std::vector<Variable> out = run(c, in);
    REQUIRE(same_bits(out[0].value(), all[0]));
    REQUIRE(same_bits(out[1].value(), all[1]));
  }
  in[1] = in[1].detach();
  in[4] = in[4].detach();
  const std::vector<Tensor> some = run_and_differentiate(c, in);
  REQUIRE(!some[3].defined());
  REQUIRE(!some[6].defined());
  for (const std::size_t i : {2, 4, 5}) {  // of u, weight_c and bias
    REQUIRE(same_bits(some[i], all[i]));
  }
}

TEST_CASE("sru_scan on a GPU agrees with the CPU", "[ops][sru_scan][gpu]") {
  struct Size {
    std::int64_t steps, batch, half_units;
  };
  // Single units; tiles of 32 units that are full and that are not, several and one; rows that
  // copies of 16 bytes fit and that they do not; fewer steps than the ring holds, and more.
  const Size sizes[] = {{1, 1, 1}, {3, 2, 16}, {19, 3, 35}, {40, 1, 68}, {33, 2, 40}, {150, 1, 16}};
  Generator generator(17);
  const std::vector<Case> options = cases();
  std::size_t next = 0;
  for (const Size& size : sizes) {
    for (const auto& [type, tolerance] : std::vector<std::pair<DType, double>>{
             {DType::f32, 1e-5}, {DType::bf16, 1e-2}, {DType::f16, 1e-2}}) {
      for (int i = 0; i < 7; ++i) {  // 7 has no factor in common with the number of cases
        Case c = options[next++ % options.size()];
        c.steps = size.steps;
        c.batch = size.batch;
        c.units = 2 * size.half_units;
        c.offset = false;
        if (i == 0) {  // what language models use
          c = {size.steps, size.batch, 2 * size.half_units, 3, {}};
          c.with_mask_c = true;
        }
        INFO("steps " << c.steps << " batch " << c.batch << " units " << c.units << " tanh "
                      << (c.options.activation == Activation::tanh) << " skip "
                      << c.options.has_skip_term << " planes " << c.planes << " bidirectional "
                      << c.options.bidirectional << " per step " << c.weight_per_step << " type "
                      << name(type));
        const std::vector<Variable> in = parameters(c, DType::f32, generator);
        const bool has_x = in[1].defined();
        const bool has_c0 = in[4].defined();
        std::vector<Tensor> activations = {in[0].value()};
        std::vector<Tensor> others = {in[2].value(), in[3].value()};
        if (has_x) {
          activations.push_back(in[1].value());
        }
        if (has_c0) {
          others.push_back(in[4].value());
        }
        require_devices_agree(
            [&](std::span<const Variable> given) {
              const std::size_t at = has_x ? 2 : 1;
              return run(c,
                         std::vector<Variable>{given[0], has_x ? given[1] : Variable(), given[at],
                                               given[at + 1], has_c0 ? given[at + 2] : Variable()});
            },
            activations, others, type, tolerance);
      }
    }
  }
}

TEST_CASE("sru_scan on a GPU takes rows that are not aligned", "[ops][sru_scan][gpu]") {
  Generator generator(18);
  for (const DType type : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (const bool weight_per_step : {false, true}) {
      Case c{11, 2, 48, 3, {}};
      c.weight_per_step = weight_per_step;
      std::vector<Variable> aligned = parameters(c, DType::f64, generator);
      std::vector<Variable> shifted;
      for (std::size_t i = 0; i < aligned.size(); ++i) {
        const bool activation = i < 2;
        const DType dtype = activation || type == DType::f64 ? type : DType::f32;
        aligned[i] = Variable(aligned[i].value().to(dtype), true);
        const Tensor& value = aligned[i].value();
        Tensor copy =
            Tensor::empty({value.numel() + 1}, dtype, test_device()).narrow(1, value.numel());
        copy.copy_from(value.reshape({value.numel()}));
        shifted.emplace_back(copy.reshape(value.shape()), true);
      }
      const std::vector<Tensor> expected = run_and_differentiate(c, aligned);
      const std::vector<Tensor> results = run_and_differentiate(c, shifted);
      for (std::size_t i = 0; i < results.size(); ++i) {
        INFO("result " << i << " type " << name(type));
        REQUIRE(same_bits(results[i], expected[i]));
      }
    }
  }
}

TEST_CASE("sru_scan explains which types go together", "[ops][sru_scan][gpu]") {
  const auto zeros = [](const Shape& shape, DType type) {
    return Variable(Tensor::zeros(shape, type, test_device()));
  };
  const DType half = DType::bf16;
  SruScanInputs in{zeros({2, 3, 12}, half),
                   zeros({2, 3, 4}, half),
                   zeros({8}, DType::f32),
                   zeros({8}, DType::f32),
                   zeros({3, 4}, half),
                   Tensor(),
                   Tensor()};
  REQUIRE_THAT(error_of([&] { sru_scan(in); }),
               ContainsSubstring("[sru_scan] c0 is bf16 on cuda:0; expected f32 on cuda:0"));
  in.c0 = Variable();
  in.mask_pad = Tensor::zeros({2, 3}, DType::boolean);
  REQUIRE_THAT(error_of([&] { sru_scan(in); }),
               ContainsSubstring("mask_pad must be bool on cuda:0, found bool on cpu"));
}
