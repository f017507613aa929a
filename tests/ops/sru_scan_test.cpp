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
    inputs.mask_c = inputs.mask_c.to(in[0].dtype());
  }
  if (c.with_mask_pad) {
    inputs.mask_pad = Tensor::zeros({c.steps, c.batch}, DType::boolean);
    for (std::int64_t b = 0; b < c.batch; ++b) {
      for (std::int64_t t = c.steps - b % c.steps; t < c.steps; ++t) {
        inputs.mask_pad.data<bool>()[t * c.batch + b] = true;
      }
    }
  }
  const SruScanOutputs out = sru_scan(inputs, c.options);
  return {out.h, out.c_last};
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
  const SruScanInputs inputs{Variable(Tensor::from<double>({4, 0, 0, 1, 0, 0}, {2, 1, 3})),
                             Variable(Tensor::from<double>({1, 3}, {2, 1, 1})),
                             Variable(Tensor::zeros({2}, DType::f64)),
                             Variable(Tensor::zeros({2}, DType::f64)),
                             Variable(Tensor::from<double>({2}, {1, 1})),
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
    INFO("units " << c.units << " tanh " << (c.options.activation == Activation::tanh) << " skip "
                  << c.options.has_skip_term << " planes " << c.planes << " bidirectional "
                  << c.options.bidirectional << " per step " << c.weight_per_step);
    require_gradients([&](std::span<const Variable> in) { return run(c, in); },
                      parameters(c, DType::f64, generator));
  }
}

TEST_CASE("sru_scan in f32 agrees with f64, forward and backward", "[ops][sru_scan]") {
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
      REQUIRE(max_relative_error(a[0].value(), b[0].value()) < 2e-6);
      REQUIRE(max_relative_error(a[1].value(), b[1].value()) < 2e-6);
      backward(a[0], Tensor::full(a[0].shape(), 1.0, DType::f32));
      backward(b[0], Tensor::full(b[0].shape(), 1.0, DType::f64));
      for (std::size_t i = 0; i < narrow.size(); ++i) {
        if (narrow[i].defined()) {
          // Sums over 33 steps and 3 batch entries of terms up to about 3.
          REQUIRE(max_relative_error(narrow[i].grad(), wide[i].grad()) < 2e-5);
        }
      }
    });
  }
}

TEST_CASE("sru_scan gives the same bits for one thread and for two", "[ops][sru_scan]") {
  Generator generator(13);
  const Case c{9, 3, 1031, 3, {}};
  const std::vector<Variable> in = parameters(c, DType::f32, generator);
  std::vector<Tensor> seen;
  for_thread_counts([&] {
    const std::vector<Variable> out = run(c, in);
    backward(out[0], out[0].value());
    if (seen.empty()) {
      seen = {out[0].value(), in[0].grad(), in[2].grad(), in[4].grad()};
    } else {
      REQUIRE(same_bits(out[0].value(), seen[0]));
      REQUIRE(same_bits(in[0].grad(), seen[1]));
      REQUIRE(same_bits(in[2].grad(), seen[2]));
      REQUIRE(same_bits(in[4].grad(), seen[3]));
    }
    for (Variable v : in) {
      v.zero_grad();
    }
  });
}

TEST_CASE("sru_scan in pieces equals the whole", "[ops][sru_scan]") {
  Generator generator(14);
  const Case c{12, 2, 19, 3, {}};
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

TEST_CASE("the vectorised SRU row follows the plain one for any length", "[ops][sru_scan]") {
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
  for (int plane = 0; plane < 3; ++plane) {
    Tensor u = Tensor::zeros({1, 1, 3});
    u.data<float>()[plane] = std::numeric_limits<float>::quiet_NaN();
    const SruScanOutputs out = sru_scan({Variable(u), Variable(Tensor::full({1, 1, 1}, 1.0)),
                                         Variable(Tensor::zeros({2})), Variable(Tensor::zeros({2})),
                                         Variable(Tensor::full({1, 1}, 3.0)), Tensor(), Tensor()});
    REQUIRE(std::isnan(out.h.value().data<float>()[0]));
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
