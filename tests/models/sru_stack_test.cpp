// Stacks as a whole: gradients of every kind of layer, and the masks of training and evaluation.
#include "models/sru_stack.h"

#include "models/sru.h"
#include "models/srupp.h"
#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kSteps = 4;
constexpr std::int64_t kBatch = 2;
constexpr std::int64_t kMemory = 3;
constexpr std::int64_t kInput = 3;

SruppOptions srupp_options() {
  SruppOptions options;
  options.stack.input_size = kInput;
  options.stack.num_layers = 2;
  options.stack.layer.hidden_size = 3;
  options.transform.projection_size = 2;
  return options;
}

SruStack scrambled(const SruppOptions& options) {
  Generator generator(1);
  Initializer init(generator, test_device(), DType::f64);
  SruStack stack = make_srupp(options, init);
  scramble(stack.parameters(), 1);
  return stack;
}

SruStack scrambled(const SruOptions& options) {
  Generator generator(1);
  Initializer init(generator, test_device(), DType::f64);
  SruStack stack = make_sru(options, init);
  scramble(stack.parameters(), 1);
  return stack;
}

// true in the last `count` rows of stream 1.
Tensor padding(std::int64_t length, std::int64_t count) {
  Tensor mask = Tensor::zeros({length, kBatch}, DType::boolean);
  for (std::int64_t t = length - count; t < length; ++t) {
    mask.data<bool>()[t * kBatch + 1] = true;
  }
  return on_test_device(mask);
}

// Compares gradients of all parameters, of x, of c0 and, with memory, of memory.
void require_stack_gradients(const SruStack& stack, StackInputs inputs, bool with_memory,
                             double dropout = 0.0) {
  Generator generator(2);
  const std::int64_t units = stack.output_size();
  std::vector<Variable> checked = {
      random_parameter({kSteps, kBatch, kInput}, DType::f64, generator)};
  for (std::int64_t i = 0; i < stack.num_layers(); ++i) {
    checked.push_back(random_parameter({kBatch, units}, DType::f64, generator));
  }
  const std::size_t memory_at = checked.size();
  if (with_memory) {
    // Every layer's input: the stack's, then units of the layer below.
    for (std::int64_t i = 0; i < stack.num_layers(); ++i) {
      checked.push_back(
          random_parameter({kMemory, kBatch, i == 0 ? kInput : units}, DType::f64, generator));
    }
  }
  const std::size_t parameters_at = checked.size();
  for (const NamedVariable& parameter : stack.parameters()) {
    checked.push_back(parameter.variable);
  }
  // The operations are checked with several threads in tests/ops.
  const std::string problem = check_gradients(
      [&](std::span<const Variable> in) {
        inputs.x = in[0];
        inputs.c0.assign(in.begin() + 1, in.begin() + static_cast<std::ptrdiff_t>(memory_at));
        inputs.memory.assign(in.begin() + static_cast<std::ptrdiff_t>(memory_at),
                             in.begin() + static_cast<std::ptrdiff_t>(parameters_at));
        Generator masks(3);  // the same every time
        const bool training = dropout > 0.0;
        StackOutputs out = stack.forward(inputs, {training, &masks});
        std::vector<Variable> outputs = {out.h};
        outputs.insert(outputs.end(), out.c.begin(), out.c.end());
        return outputs;
      },
      checked);
  INFO(problem);
  REQUIRE(problem.empty());
}

}  // namespace

TEST_CASE("SRU++ stacks have the right gradients", "[models][stack][gradient]") {
  SruppOptions options = srupp_options();
  StackInputs inputs;
  bool with_memory = false;
  double dropout = 0.0;
  SECTION("attending in every layer") {}
  SECTION("attending in one layer, from memory") {
    options.attends = [](std::int64_t layer) { return layer == 1; };
    with_memory = true;
  }
  SECTION("two heads, LayerNorm before attention, no causal mask, padding") {
    options.transform.num_heads = 2;
    options.transform.normalize_after = false;
    options.stack.layer.rescale = true;
    options.stack.layer.highway_bias = -1;
    inputs.mask.causal = false;
    inputs.mask_pad = padding(kSteps, 1);
    inputs.memory_mask_pad = padding(kMemory, 2);
    with_memory = true;
  }
  SECTION("a window, no LayerNorm, another input size") {
    options.transform.layer_norm = false;
    options.stack.layer.hidden_size = 2;
    inputs.mask.window = 2;
    with_memory = true;
  }
  SECTION("bidirectional with LayerNorm of layers after") {
    options.stack.layer.bidirectional = true;
    options.stack.layer.hidden_size = 2;
    options.stack.layer.layer_norm = LayerNormPlace::post;
    inputs.mask.causal = false;
    inputs.mask_pad = padding(kSteps, 2);
  }
  SECTION("the input projected to the hidden size, LayerNorm of layers before") {
    options.stack.layer.hidden_size = 2;
    options.stack.proj_input_to_hidden_first = true;
    options.stack.layer.layer_norm = LayerNormPlace::pre;
  }
  SECTION("dropout everywhere") {
    options.stack.dropout = dropout = 0.4;
    options.transform.dropout = 0.3;
    options.transform.attention_dropout = 0.2;
    with_memory = true;
  }
  require_stack_gradients(scrambled(options), inputs, with_memory, dropout);
}

TEST_CASE("SRU stacks have the right gradients", "[models][stack][gradient]") {
  SruOptions options;
  options.stack.input_size = kInput;
  options.stack.num_layers = 2;
  options.stack.layer.hidden_size = 3;
  StackInputs inputs;
  double dropout = 0.0;
  SECTION("plain") {}
  SECTION("projected, tanh, LayerNorm before, dropout") {
    options.projection_size = 2;
    options.stack.layer.activation = Activation::tanh;
    options.stack.layer.layer_norm = LayerNormPlace::pre;
    options.stack.dropout = dropout = 0.4;
  }
  SECTION("bidirectional, padding, LayerNorm after, another input size") {
    options.stack.layer.bidirectional = true;
    options.stack.layer.hidden_size = 2;
    options.stack.layer.layer_norm = LayerNormPlace::post;
    inputs.mask_pad = padding(kSteps, 2);
  }
  SECTION("without the skip term") { options.stack.layer.has_skip_term = false; }
  require_stack_gradients(scrambled(options), inputs, false, dropout);
}

TEST_CASE("the masks of training and evaluation are those written out", "[models][stack]") {
  const SruStack stack = scrambled(srupp_options());
  Generator generator(4);
  StackInputs inputs;
  inputs.x = Variable(random_tensor({kSteps, kBatch, kInput}, DType::f64, generator));
  for (int layer = 0; layer < 2; ++layer) {
    inputs.memory.push_back(
        Variable(random_tensor({kMemory, kBatch, kInput}, DType::f64, generator)));
  }
  const auto outputs_with = [&](const AttentionMask& mask) {
    inputs.mask = mask;
    return stack.forward(inputs, {}).h.value();
  };
  // Position i of the segment is position kMemory + i of the context.
  const auto written_out = [&](std::int64_t window) {
    Tensor mask = Tensor::zeros({kSteps, kMemory + kSteps}, DType::f64);
    for (std::int64_t i = 0; i < kSteps; ++i) {
      for (std::int64_t j = 0; j < kMemory + kSteps; ++j) {
        const bool later = j > kMemory + i;
        const bool too_early = window > 0 && j < kMemory + i - window;
        mask[i].data<double>()[j] = later || too_early ? -1e9 : 0.0;
      }
    }
    return AttentionMask{false, 0, on_test_device(mask), Tensor()};
  };
  const Tensor training = outputs_with(AttentionMask{});
  REQUIRE(max_relative_error(training, outputs_with(written_out(0))) < 1e-12);
  for (const std::int64_t window : {1, 2, 4}) {
    INFO("window " << window);
    const Tensor evaluation = outputs_with({true, window, Tensor(), Tensor()});
    REQUIRE(max_relative_error(evaluation, outputs_with(written_out(window))) < 1e-12);
    REQUIRE(max_relative_error(evaluation, training) > 1e-6);
  }
}

TEST_CASE("LayerNorm before a layer leaves memory as it is", "[models][stack]") {
  // As in the reference: what was a normalised input in its own segment is a raw one in memory.
  SruppOptions options = srupp_options();
  options.stack.num_layers = 1;
  options.stack.layer.layer_norm = LayerNormPlace::pre;
  const SruStack stack = scrambled(options);
  Generator generator(6);
  StackInputs inputs;
  inputs.x = Variable(random_tensor({kSteps, kBatch, kInput}, DType::f64, generator));
  const Tensor memory = random_tensor({kMemory, kBatch, kInput}, DType::f64, generator);
  inputs.memory = {Variable(memory)};
  const Tensor before = stack.forward(inputs, {}).h.value();
  Tensor doubled = on_cpu(memory).clone();
  for (double& value : doubled.values<double>()) {
    value *= 2.0;  // which a LayerNorm would undo, but for its epsilon: some 1e-9 of the result
  }
  inputs.memory = {Variable(on_test_device(doubled))};
  REQUIRE(max_relative_error(stack.forward(inputs, {}).h.value(), before) > 1e-5);
}

TEST_CASE("padding hides what it covers", "[models][stack]") {
  SruppOptions options = srupp_options();
  options.stack.layer.bidirectional = true;
  const SruStack stack = scrambled(options);
  Generator generator(5);
  StackInputs inputs;
  inputs.mask.causal = false;
  inputs.mask_pad = padding(kSteps, 2);
  Tensor x = random_tensor({kSteps, kBatch, kInput}, DType::f64, generator);
  inputs.x = Variable(x.clone());
  const StackOutputs before = stack.forward(inputs, {});
  for (std::int64_t t = kSteps - 2; t < kSteps; ++t) {
    x[t].narrow(1, 1).fill(9.0);  // the padded positions of stream 1
    REQUIRE(max_relative_error(before.h.value()[t].narrow(1, 1),
                               Tensor::zeros({1, stack.output_size()}, DType::f64)) == 0.0);
  }
  inputs.x = Variable(x);
  const StackOutputs after = stack.forward(inputs, {});
  REQUIRE(max_relative_error(before.h.value(), after.h.value()) < 1e-12);
  REQUIRE(max_relative_error(before.c[1].value(), after.c[1].value()) < 1e-12);
}

TEST_CASE("a stack explains inputs that do not fit", "[models][stack]") {
  const SruStack stack = scrambled(srupp_options());
  const auto error_with = [&](StackInputs inputs) {
    return error_of([&] { stack.forward(inputs, {}); });
  };
  StackInputs good;
  good.x = Variable(Tensor::zeros({kSteps, kBatch, kInput}, DType::f64));
  StackInputs bad = good;
  bad.x = Variable(Tensor::zeros({kSteps, kBatch, kInput + 1}, DType::f64));
  REQUIRE(error_with(bad) == "[SruStack] x has shape [4, 2, 4]; expected (T, B, 3)");
  bad = good;
  bad.c0.resize(1);
  REQUIRE(error_with(bad) == "[SruStack] c0 has 1 entries for 2 layers");
  bad = good;
  bad.memory.resize(3);
  REQUIRE(error_with(bad) == "[SruStack] memory has 3 entries for 2 layers");
  bad = good;
  bad.memory.resize(2);
  bad.memory[0] = Variable(Tensor::zeros({kMemory, kBatch + 1, kInput}, DType::f64));
  REQUIRE_THAT(error_with(bad),
               ContainsSubstring("memory has shape [3, 3, 3]; expected (M, 2, 3)"));
  bad = good;
  bad.memory.resize(2);
  bad.memory[0] = Variable(Tensor::zeros({kMemory, kBatch, kInput + 1}, DType::f64));
  REQUIRE_FALSE(error_with(bad).empty());
  bad = good;
  bad.mask_pad = Tensor::zeros({kSteps + 1, kBatch}, DType::boolean);
  REQUIRE_FALSE(error_with(bad).empty());
}

TEST_CASE("stacks that cannot be are refused", "[models][stack]") {
  SruppOptions options = srupp_options();
  options.stack.num_layers = 0;
  REQUIRE_THAT(error_of([&] { scrambled(options); }), ContainsSubstring("must be from 1 to"));
  options = srupp_options();
  options.transform.projection_size = 0;
  REQUIRE_THAT(error_of([&] { scrambled(options); }),
               ContainsSubstring("projection_size must be from 1 to"));
  options = srupp_options();
  options.transform.num_heads = 3;
  REQUIRE_THAT(error_of([&] { scrambled(options); }),
               ContainsSubstring("3 heads do not divide projection_size 2"));
}
