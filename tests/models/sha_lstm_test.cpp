#include "models/sha_lstm.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "ops/concat.h"
#include "ops/elementwise.h"
#include "ops/lstm.h"
#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kVocabulary = 11;

// Three layers of 6 units, 12 inside Boom; the second attends unless said otherwise.
ModelConfig sha_lstm_config() {
  ModelConfig config = tiny_config();
  config.type = ModelType::sha_lstm;
  config.projection_size = 0;
  config.num_heads = 1;
  config.inner_size = 12;
  return config;
}

ShaLstmStack make_stack(const ShaLstmOptions& options, DType dtype = DType::f64) {
  Generator generator(1);
  Initializer init(generator, test_device(), dtype);
  ShaLstmStack stack(options, init);
  scramble(stack.parameters(), 2);
  return stack;
}

Variable parameter(const Parameters& parameters, const std::string& name) {
  const auto found = std::ranges::find(parameters, name, &NamedVariable::name);
  REQUIRE(found != parameters.end());
  return found->variable;
}

Variable norm(const Parameters& p, const std::string& name, const Variable& x) {
  return layer_norm(x, parameter(p, name + ".weight"), parameter(p, name + ".bias"));
}

// x (T, B, d) with every row multiplied by `gate` (d).
Variable gated_rows(const Variable& x, const Variable& gate) {
  Tensor rows = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor flat = rows.reshape({x.size(0) * x.size(1), x.size(2)});
  for (std::int64_t row = 0; row < flat.size(0); ++row) {
    flat[row].copy_from(gate.value());
  }
  return mul(x, Variable(rows));
}

}  // namespace

TEST_CASE("SHA-LSTM parameters are named, and one layer attends", "[models][sha_lstm]") {
  const ShaLstmStack stack = make_stack({.hidden_size = 4, .num_layers = 3, .inner_size = 8});
  std::vector<std::string> names;
  for (const NamedVariable& p : stack.parameters()) {
    names.push_back(p.name + " " + p.variable.shape().str());
  }
  for (const char* name :
       {"layers.0.input_norm.weight [4]", "layers.0.lstm.weight_ih [16, 4]",
        "layers.0.lstm.bias [16]", "layers.0.boom_residual_norm.bias [4]",
        "layers.0.boom.weight [8, 4]", "layers.0.boom.bias [8]",
        "layers.1.attention.query.weight [4, 4]", "layers.1.attention.query_norm.weight [4]",
        "layers.1.attention.value_gate_transform.weight [8, 4]",
        "layers.1.attention.key_gate [4]"}) {
    INFO(name);
    REQUIRE(std::ranges::find(names, name) != names.end());
  }
  REQUIRE_FALSE(stack.attends(0));
  REQUIRE(stack.attends(1));
  REQUIRE_FALSE(stack.attends(2));
  REQUIRE(make_stack({.hidden_size = 4, .num_layers = 1, .inner_size = 4}).attends(0));
  REQUIRE(make_stack({.hidden_size = 4,
                      .num_layers = 2,
                      .inner_size = 4,
                      .attends = [](std::int64_t layer) { return layer == 1; }})
              .attends(1));
}

TEST_CASE("a SHA-LSTM layer is what its paper says", "[models][sha_lstm]") {
  Generator generator(3);
  const ShaLstmStack stack =
      make_stack({.hidden_size = 4, .num_layers = 1, .inner_size = 12, .num_heads = 2});
  StackInputs inputs;
  inputs.x = Variable(random_tensor({5, 2, 4}, DType::f64, generator));
  inputs.memory = {Variable(random_tensor({3, 2, 4}, DType::f64, generator))};
  inputs.mask.window = 4;
  const StackOutputs out = stack.forward(inputs, {});

  // The gates where the paper has them, and the chunks of Boom one by one.
  const Parameters p = stack.parameters();
  const auto at = [&](const std::string& name) { return parameter(p, "layers.0." + name); };
  const auto in_layer = [&](const std::string& name, const Variable& x) {
    return norm(p, "layers.0." + name, x);
  };
  const Variable h = lstm({in_layer("input_norm", inputs.x), at("lstm.weight_ih"),
                           at("lstm.weight_hh"), at("lstm.bias"), Variable(), Variable()})
                         .h;
  REQUIRE(max_relative_error(out.inputs[0].value(), h.value()) < 1e-14);
  const Variable m = in_layer("attention.memory_norm", concat({inputs.memory[0], h}, 0));
  const Variable mid = in_layer("attention.residual_norm", h);
  const Variable q =
      gated_rows(in_layer("attention.query_norm",
                          linear(mid, at("attention.query.weight"), at("attention.query.bias"))),
                 sigmoid(at("attention.query_gate")));
  const Variable k = gated_rows(m, sigmoid(at("attention.key_gate")));
  const std::vector<Variable> c_and_f =
      split(linear(sigmoid(at("attention.value_gate")), at("attention.value_gate_transform.weight"),
                   at("attention.value_gate_transform.bias")),
            {4, 4}, 0);
  const Variable v = gated_rows(m, mul(rondo::tanh(c_and_f[0]), sigmoid(c_and_f[1])));
  AttentionOptions heads;
  heads.num_heads = 2;
  const Variable attended = add(mid, attention(q, concat({k, v}, 2), inputs.mask, heads));
  const Variable inner =
      gelu(linear(in_layer("boom_norm", attended), at("boom.weight"), at("boom.bias")));
  const std::vector<Variable> chunks = split(inner, {4, 4, 4}, 2);
  const Variable expected =
      add(in_layer("boom_residual_norm", attended), add(chunks[0], add(chunks[1], chunks[2])));
  REQUIRE(max_relative_error(out.h.value(), expected.value()) < 1e-12);
}

TEST_CASE("SHA-LSTM gradients are right", "[models][sha_lstm][gradient]") {
  Generator generator(4);
  const ShaLstmStack stack = make_stack({.hidden_size = 3, .num_layers = 2, .inner_size = 6});
  const Tensor memory = random_tensor({2, 2, 3}, DType::f64, generator);
  std::vector<Variable> inputs{random_parameter({3, 2, 3}, DType::f64, generator)};
  for (const NamedVariable& p : stack.parameters()) {
    inputs.push_back(p.variable);
  }
  // The parameters are changed in place, so that only x is passed on.
  require_gradients(
      [&](std::span<const Variable> in) {
        StackInputs of_stack;
        of_stack.x = in[0];
        of_stack.memory = {Variable(memory), Variable()};
        const StackOutputs out = stack.forward(of_stack, {});
        return std::vector<Variable>{out.h, out.c[0], out.h_last[1]};
      },
      inputs);
}

TEST_CASE("dropout of a SHA-LSTM is drawn in training alone", "[models][sha_lstm]") {
  Generator data(5);
  const ShaLstmStack stack = make_stack({.hidden_size = 4,
                                         .num_layers = 2,
                                         .inner_size = 8,
                                         .dropout = 0.5,
                                         .attention_dropout = 0.5});
  StackInputs inputs;
  inputs.x = Variable(random_tensor({4, 2, 4}, DType::f64, data));
  const StackOutputs evaluated = stack.forward(inputs, {});
  REQUIRE(same_bits(evaluated.h.value(), stack.forward(inputs, {}).h.value()));
  Generator generator(1);
  const StackOutputs trained = stack.forward(inputs, {true, &generator, Precision::f32});
  // After the LSTM, inside Boom and after it in both layers; in the first also attention's two.
  REQUIRE(generator.next_stream() == 8);
  const Tensor h = on_cpu(trained.inputs[0].value());
  REQUIRE(std::count(h.values<double>().begin(), h.values<double>().end(), 0.0) > 0);
}

TEST_CASE("a SHA-LSTM stack explains what does not fit", "[models][sha_lstm]") {
  REQUIRE_THAT(error_of([] { make_stack({.hidden_size = 4, .inner_size = 6}); }),
               ContainsSubstring("inner size 6 is not a multiple of hidden size 4"));
  REQUIRE_THAT(error_of([] { make_stack({.hidden_size = 4, .inner_size = 4, .num_heads = 3}); }),
               ContainsSubstring("3 heads do not divide hidden size 4"));
  Generator generator(6);
  const ShaLstmStack stack = make_stack({.hidden_size = 4, .num_layers = 2, .inner_size = 4});
  const auto error_with = [&](const auto& change) {
    StackInputs inputs;
    inputs.x = Variable(random_tensor({4, 2, 4}, DType::f64, generator));
    change(inputs);
    return error_of([&] { stack.forward(inputs, {}); });
  };
  REQUIRE(error_with([](StackInputs& in) { in.c0.resize(2); }) ==
          "[ShaLstmStack] the state has 2 c and 0 h for 2 layers");
  REQUIRE(error_with([](StackInputs& in) { in.memory.resize(1); }) ==
          "[ShaLstmStack] memory has 1 entries for 2 layers");
  REQUIRE(error_with([&](StackInputs& in) {
            in.memory = {Variable(random_tensor({1, 3, 4}, DType::f64, generator)), Variable()};
          }) == "[ShaLstmStack] memory has shape [1, 3, 4]; expected (M, 2, 4)");
  REQUIRE_THAT(error_with([](StackInputs& in) {
                 in.mask_pad = Tensor::zeros({4, 2}, DType::boolean);
               }),
               ContainsSubstring("padding"));
}

TEST_CASE("a SHA-LSTM model reads in pieces what it reads at once", "[models][sha_lstm]") {
  Generator generator(7);
  const auto model = scrambled_model(sha_lstm_config(), kVocabulary, DType::f64, 1, test_device());
  const Tensor ids = random_ids({9, 2}, kVocabulary, generator);
  for (const std::int64_t window : {0, 3}) {
    INFO("window " << window);
    const LanguageModelContext context{{}, 8, window};
    LanguageModelState all;
    const Tensor whole = model->logits(ids, all, context).value();
    LanguageModelState state;
    for (const auto& [start, length] : {std::pair{0, 4}, {4, 1}, {5, 4}}) {
      const Tensor part = model->logits(ids.narrow(start, length), state, context).value();
      REQUIRE(max_relative_error(part, whole.narrow(start, length)) < 1e-12);
      state = LanguageModelState::from_named(state.named());
    }
    // The second layer alone has a memory.
    REQUIRE_FALSE(state.memory[0].defined());
    REQUIRE(state.memory[1].size(0) == 8);
  }
}

TEST_CASE("a SHA-LSTM model is stepped where its weights are", "[models][sha_lstm]") {
  Generator generator(8);
  ModelConfig config = sha_lstm_config();
  config.num_heads = GENERATE(1, 2);
  config.attention_last_n_layers = 2;
  const auto model = scrambled_model(config, kVocabulary, DType::f32, 1, test_device());
  const Tensor ids = random_ids({9, 2}, kVocabulary, generator);
  constexpr std::int64_t kWindow = 3;
  LanguageModelState state;
  const Tensor expected = on_cpu(model->logits(ids, state, {{}, kWindow, kWindow}).value());
  for (const std::int64_t prompt : {0, 1, 2, 7}) {
    const auto stream = model->start_stream(2, kWindow);
    if (prompt > 0) {
      REQUIRE(max_relative_error(stream->prefill(ids.narrow(0, prompt)), expected[prompt - 1]) <
              1e-5);
    }
    for (std::int64_t t = prompt; t < ids.size(0); ++t) {
      INFO("prompt " << prompt << ", position " << t);
      REQUIRE(max_relative_error(stream->step(ids[t]), expected[t]) < 1e-5);
    }
  }
  const auto wide = scrambled_model(config, kVocabulary, DType::f64, 1, test_device());
  REQUIRE_THAT(error_of([&] { wide->start_stream(1, 3); }), ContainsSubstring("f64"));
}

TEST_CASE("a SHA-LSTM model in bf16 stays near itself", "[models][sha_lstm]") {
  Generator generator(9);
  const auto model = scrambled_model(sha_lstm_config(), kVocabulary, DType::f32, 1, test_device());
  const Tensor ids = random_ids({6, 2}, kVocabulary, generator);
  LanguageModelState exact;
  const Tensor expected = model->logits(ids, exact, {{}, 4, 0}).value();
  LanguageModelState rounded;
  const LanguageModelContext bf16{{false, nullptr, Precision::bf16}, 4, 0};
  model->logits(ids.narrow(0, 3), rounded, bf16);
  REQUIRE(rounded.h[0].dtype() == DType::f32);
  const Variable rest = model->logits(ids.narrow(3, 3), rounded, bf16);
  const double error = max_relative_error(rest.value(), expected.narrow(3, 3));
  REQUIRE(error > 1e-6);
  REQUIRE(error < 5e-2);
  backward(rest, Tensor::full(rest.shape(), 1.0, rest.dtype(), test_device()));
  for (const NamedVariable& p : model->parameters()) {
    INFO(p.name);
    REQUIRE(p.variable.grad().dtype() == DType::f32);
  }
}
