#include "models/lstm.h"

#include <algorithm>
#include <cmath>

#include "ops/lstm.h"
#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kVocabulary = 11;

LstmStack make_stack(DType dtype = DType::f64, double dropout = 0.0) {
  Generator generator(1);
  Initializer init(generator, test_device(), dtype);
  return LstmStack({3, 5, 2, dropout}, init);
}

ModelConfig lstm_config() {
  ModelConfig config = tiny_config();
  config.type = ModelType::lstm;
  config.projection_size = 0;
  config.num_heads = 1;
  return config;
}

}  // namespace

TEST_CASE("LSTM parameters are named and start as PyTorch's", "[models][lstm]") {
  const LstmStack stack = make_stack();
  std::vector<std::string> names;
  for (const NamedVariable& parameter : stack.parameters()) {
    names.push_back(parameter.name + " " + parameter.variable.shape().str());
    double largest = 0.0;
    const Tensor values = on_cpu(parameter.variable.value());
    for (const double value : values.values<double>()) {
      largest = std::max(largest, std::abs(value));
    }
    REQUIRE(largest <= 1.0 / std::sqrt(5.0));
    REQUIRE(largest > 0.8 / std::sqrt(5.0));
  }
  REQUIRE(names == std::vector<std::string>{"layers.0.weight_ih [20, 3]",
                                            "layers.0.weight_hh [20, 5]", "layers.0.bias [20]",
                                            "layers.1.weight_ih [20, 5]",
                                            "layers.1.weight_hh [20, 5]", "layers.1.bias [20]"});
}

TEST_CASE("an LSTM stack is its layers on top of one another", "[models][lstm]") {
  Generator generator(2);
  const LstmStack stack = make_stack();
  StackInputs inputs;
  inputs.x = Variable(random_tensor({4, 2, 3}, DType::f64, generator));
  for (int i = 0; i < 2; ++i) {
    inputs.h0.emplace_back(random_tensor({2, 5}, DType::f64, generator));
    inputs.c0.emplace_back(random_tensor({2, 5}, DType::f64, generator));
  }
  const StackOutputs out = stack.forward(inputs, {});
  const Parameters p = stack.parameters();
  const LstmOutputs first =
      lstm({inputs.x, p[0].variable, p[1].variable, p[2].variable, inputs.h0[0], inputs.c0[0]});
  const LstmOutputs second =
      lstm({first.h, p[3].variable, p[4].variable, p[5].variable, inputs.h0[1], inputs.c0[1]});
  REQUIRE(same_bits(out.h.value(), second.h.value()));
  REQUIRE(same_bits(out.c[0].value(), first.c_last.value()));
  REQUIRE(same_bits(out.h_last[1].value(), second.h_last.value()));
}

TEST_CASE("dropout of an LSTM stack lies between its layers", "[models][lstm]") {
  Generator data(3);
  const LstmStack stack = make_stack(DType::f64, 0.5);
  StackInputs inputs;
  inputs.x = Variable(random_tensor({4, 2, 3}, DType::f64, data));
  const StackOutputs evaluated = stack.forward(inputs, {});
  Generator generator(1);
  const StackOutputs trained = stack.forward(inputs, {true, &generator, Precision::f32});
  REQUIRE(generator.next_stream() == 1);
  REQUIRE(same_bits(trained.c[0].value(), evaluated.c[0].value()));
  REQUIRE_FALSE(same_bits(trained.c[1].value(), evaluated.c[1].value()));
  const Tensor between = on_cpu(trained.inputs[1].value());
  REQUIRE(std::count(between.values<double>().begin(), between.values<double>().end(), 0.0) > 0);
  const Tensor after = on_cpu(trained.h.value());
  REQUIRE(std::count(after.values<double>().begin(), after.values<double>().end(), 0.0) == 0);
}

TEST_CASE("an LSTM stack explains what does not fit", "[models][lstm]") {
  Generator generator(4);
  const LstmStack stack = make_stack();
  const auto error_with = [&](const auto& change) {
    StackInputs inputs;
    inputs.x = Variable(random_tensor({4, 2, 3}, DType::f64, generator));
    change(inputs);
    return error_of([&] { stack.forward(inputs, {}); });
  };
  REQUIRE(error_with([&](StackInputs& in) {
            in.x = Variable(random_tensor({4, 2, 5}, DType::f64, generator));
          }) == "[LstmStack] x has shape [4, 2, 5]; expected (T, B, 3)");
  REQUIRE(error_with([](StackInputs& in) { in.c0.resize(2); }) ==
          "[LstmStack] the state has 2 c and 0 h for 2 layers");
  REQUIRE_THAT(error_with([&](StackInputs& in) {
                 in.memory.emplace_back(random_tensor({1, 2, 3}, DType::f64, generator));
               }),
               ContainsSubstring("memory"));
  REQUIRE_THAT(error_with([](StackInputs& in) {
                 in.mask_pad = Tensor::zeros({4, 2}, DType::boolean);
               }),
               ContainsSubstring("padding"));
}

TEST_CASE("an LSTM model carries h and c, under their names too", "[models][lstm]") {
  Generator generator(5);
  const auto model = scrambled_model(lstm_config(), kVocabulary, DType::f64, 1, test_device());
  const Tensor ids = random_ids({7, 2}, kVocabulary, generator);
  LanguageModelState all;
  const Tensor whole = model->logits(ids, all, {}).value();
  LanguageModelState state;
  model->logits(ids.narrow(0, 4), state, {});
  std::vector<std::string> names;
  for (const NamedTensor& named : state.named()) {
    names.push_back(named.name);
  }
  REQUIRE(names == std::vector<std::string>{"c.0", "c.1", "c.2", "h.0", "h.1", "h.2"});
  LanguageModelState back = LanguageModelState::from_named(state.named());
  const Tensor rest = model->logits(ids.narrow(4, 3), back, {}).value();
  REQUIRE(max_relative_error(rest, whole.narrow(4, 3)) < 1e-12);

  // States of one kind of model are refused by the other.
  const auto sru = scrambled_model(tiny_config(), kVocabulary, DType::f64, 1, test_device());
  LanguageModelState of_sru;
  sru->logits(ids, of_sru, {});
  REQUIRE_THAT(error_of([&] { model->logits(ids, of_sru, {}); }),
               ContainsSubstring("3 c and 0 h for 3 layers"));
  REQUIRE_THAT(error_of([&] { sru->logits(ids, back, {}); }),
               ContainsSubstring("the state has an h"));
}

TEST_CASE("an LSTM model is stepped where its weights are", "[models][lstm]") {
  Generator generator(6);
  const auto model = scrambled_model(lstm_config(), kVocabulary, DType::f32, 1, test_device());
  const Tensor ids = random_ids({9, 2}, kVocabulary, generator);
  LanguageModelState state;
  const Tensor expected = on_cpu(model->logits(ids, state, {}).value());
  for (const std::int64_t prompt : {1, 4}) {
    const auto stream = model->start_stream(2, 3);
    REQUIRE(max_relative_error(stream->prefill(ids.narrow(0, prompt)), expected[prompt - 1]) <
            1e-5);
    for (std::int64_t t = prompt; t < ids.size(0); ++t) {
      INFO("prompt " << prompt << ", position " << t);
      REQUIRE(max_relative_error(stream->step(ids[t]), expected[t]) < 1e-5);
    }
  }
  // Without a prompt, from zeros.
  const auto stream = model->start_stream(2, 3);
  REQUIRE(max_relative_error(stream->step(ids[0]), expected[0]) < 1e-5);
  const auto wide = scrambled_model(lstm_config(), kVocabulary, DType::f64, 1, test_device());
  REQUIRE_THAT(error_of([&] { wide->start_stream(1, 3); }), ContainsSubstring("f64"));
}

TEST_CASE("an LSTM model in bf16 keeps its state in f32", "[models][lstm]") {
  Generator generator(7);
  const auto model = scrambled_model(lstm_config(), kVocabulary, DType::f32, 1, test_device());
  const Tensor ids = random_ids({6, 2}, kVocabulary, generator);
  const LanguageModelContext bf16{{false, nullptr, Precision::bf16}, 0, 0};
  LanguageModelState exact;
  LanguageModelState rounded;
  const Tensor expected = model->logits(ids, exact, {}).value();
  model->logits(ids.narrow(0, 3), rounded, bf16);
  REQUIRE(rounded.h[0].dtype() == DType::f32);
  REQUIRE(rounded.c[2].dtype() == DType::f32);
  const Variable rest = model->logits(ids.narrow(3, 3), rounded, bf16);
  const double error = max_relative_error(rest.value(), expected.narrow(3, 3));
  REQUIRE(error > 1e-6);
  REQUIRE(error < 3e-2);
  backward(rest, Tensor::full(rest.shape(), 1.0, rest.dtype(), test_device()));
  for (const NamedVariable& parameter : model->parameters()) {
    INFO(parameter.name);
    REQUIRE(parameter.variable.grad().dtype() == DType::f32);
  }
}
