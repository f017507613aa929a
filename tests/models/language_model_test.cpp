// What a language model carries from one piece of a text to the next, and what dropout draws.
#include "models/language_model.h"

#include "ops/cross_entropy.h"
#include "tests/support/tiny_model.h"
#include "trainers/optimizer.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kVocabulary = 9;
constexpr std::int64_t kBatch = 2;

// The scores of `ids` read in pieces of these lengths, one behind the other.
Tensor in_pieces(const LanguageModel& model, const Tensor& ids,
                 const std::vector<std::int64_t>& lengths, std::int64_t memory_length,
                 std::int64_t window) {
  LanguageModelState state;
  Tensor all = Tensor::empty({ids.size(0), ids.size(1), kVocabulary}, DType::f64);
  std::int64_t start = 0;
  for (const std::int64_t length : lengths) {
    const LanguageModelContext context{{}, memory_length, window};
    all.narrow(start, length)
        .copy_from(model.logits(ids.narrow(start, length), state, context).value());
    start += length;
  }
  REQUIRE(start == ids.size(0));
  return all;
}

std::vector<ModelConfig> stateful_configs() {
  ModelConfig srupp = tiny_config();
  ModelConfig some = tiny_config();
  some.attention_layers = {2};
  some.layer_norm = LayerNormPlace::post;
  some.attention_normalize_after = false;
  some.rescale = true;
  ModelConfig sru = tiny_config();
  sru.type = ModelType::sru;
  sru.projection_size = 0;
  sru.activation = Activation::tanh;
  sru.layer_norm = LayerNormPlace::post;
  ModelConfig no_skip = sru;
  no_skip.projection_size = 3;
  no_skip.has_skip_term = false;
  ModelConfig normalized = tiny_config();
  normalized.attention_layers = std::vector<std::int64_t>{};
  normalized.layer_norm = LayerNormPlace::pre;
  return {srupp, some, sru, no_skip, normalized};
}

LanguageModelContext training(Generator& generator, std::int64_t memory_length = 0) {
  return {{true, &generator}, memory_length, 0};
}

}  // namespace

TEST_CASE("a text read in pieces scores as the whole", "[models][language_model]") {
  Generator generator(1);
  const Tensor ids = random_ids({17, kBatch}, kVocabulary, generator);
  for (const ModelConfig& config : stateful_configs()) {
    const auto model = scrambled_model(config, kVocabulary, DType::f64);
    for (const std::int64_t window : {1, 4, 6, 40}) {
      INFO("window " << window);
      const Tensor whole = in_pieces(*model, ids, {17}, 0, window);
      for (const std::vector<std::int64_t>& lengths :
           {std::vector<std::int64_t>{6, 6, 5}, {1, 16}, {9, 1, 1, 6}, std::vector(17, 1L)}) {
        // Memory that goes back as far as the mask, and further.
        REQUIRE(max_relative_error(in_pieces(*model, ids, lengths, window, window), whole) < 1e-12);
        REQUIRE(max_relative_error(in_pieces(*model, ids, lengths, window + 3, window), whole) <
                1e-12);
      }
    }
    // Training's mask: all of memory and segment up to one's own position.
    const Tensor whole = in_pieces(*model, ids, {17}, 0, 0);
    REQUIRE(max_relative_error(in_pieces(*model, ids, {5, 1, 11}, 17, 0), whole) < 1e-12);
  }
}

TEST_CASE("memory and window change what attention sees", "[models][language_model]") {
  Generator generator(2);
  const Tensor ids = random_ids({12, kBatch}, kVocabulary, generator);
  const auto model = scrambled_model(tiny_config(), kVocabulary, DType::f64);
  const std::vector<std::int64_t> halves = {6, 6};
  const Tensor whole = in_pieces(*model, ids, {12}, 0, 0);
  REQUIRE(max_relative_error(in_pieces(*model, ids, halves, 5, 0), whole) > 1e-6);
  REQUIRE(max_relative_error(in_pieces(*model, ids, {12}, 0, 5), whole) > 1e-6);
  REQUIRE(max_relative_error(in_pieces(*model, ids, halves, 3, 4),
                             in_pieces(*model, ids, {12}, 0, 4)) > 1e-6);
  // With every earlier position in sight, the window is no limit.
  REQUIRE(max_relative_error(in_pieces(*model, ids, {12}, 0, 11), whole) < 1e-12);
}

TEST_CASE("no position sees a later one", "[models][language_model]") {
  Generator generator(3);
  const Tensor ids = random_ids({10, kBatch}, kVocabulary, generator);
  const Tensor changed = ids.clone();
  Tensor at_seven = changed.narrow(7, 1);
  for (std::int32_t& id : at_seven.values<std::int32_t>()) {
    id = (id + 1) % kVocabulary;
  }
  for (const ModelConfig& config : stateful_configs()) {
    const auto model = scrambled_model(config, kVocabulary, DType::f64);
    const Tensor before = in_pieces(*model, ids, {10}, 0, 0);
    const Tensor after = in_pieces(*model, changed, {10}, 0, 0);
    REQUIRE(same_bits(before.narrow(0, 7).clone(), after.narrow(0, 7).clone()));
    REQUIRE(max_relative_error(before.narrow(7, 3), after.narrow(7, 3)) > 1e-6);
  }
}

TEST_CASE("streams do not see each other", "[models][language_model]") {
  Generator generator(4);
  const Tensor first = random_ids({8, 1}, kVocabulary, generator);
  const Tensor second = random_ids({8, 1}, kVocabulary, generator);
  Tensor both = Tensor::empty({8, 2}, DType::i32);
  for (std::int64_t t = 0; t < 8; ++t) {
    both.data<std::int32_t>()[2 * t] = first.data<std::int32_t>()[t];
    both.data<std::int32_t>()[2 * t + 1] = second.data<std::int32_t>()[t];
  }
  const auto model = scrambled_model(tiny_config(), kVocabulary, DType::f64);
  const Tensor together = in_pieces(*model, both, {5, 3}, 5, 0);
  for (const int stream : {0, 1}) {
    const Tensor alone = in_pieces(*model, stream == 0 ? first : second, {5, 3}, 5, 0);
    for (std::int64_t t = 0; t < 8; ++t) {
      REQUIRE(max_relative_error(together[t].narrow(stream, 1), alone[t]) < 1e-12);
    }
  }
}

TEST_CASE("memory is kept as far back as asked, where something attends",
          "[models][language_model]") {
  Generator generator(5);
  ModelConfig config = tiny_config();
  config.attention_layers = {1, 3};
  const auto model = scrambled_model(config, kVocabulary);
  LanguageModelState state;
  REQUIRE(state.at_start());
  const auto read = [&](std::int64_t length, std::int64_t memory_length) {
    model->logits(random_ids({length, kBatch}, kVocabulary, generator), state,
                  {{}, memory_length, 0});
    REQUIRE_FALSE(state.at_start());
    REQUIRE(state.c.size() == 3);
    REQUIRE(state.c[1].shape() == Shape{kBatch, 6});
    REQUIRE(state.memory.size() == 3);
    REQUIRE_FALSE(state.memory[1].defined());
  };
  read(3, 5);
  REQUIRE(state.memory[0].shape() == Shape{3, kBatch, 6});
  const Tensor oldest = state.memory[2].narrow(1, 2).clone();
  read(3, 5);
  REQUIRE(state.memory[2].shape() == Shape{5, kBatch, 6});
  REQUIRE(same_bits(state.memory[2].narrow(0, 2).clone(), oldest));
  read(7, 5);
  REQUIRE(state.memory[2].shape() == Shape{5, kBatch, 6});
  read(2, 3);
  REQUIRE(state.memory[0].shape() == Shape{3, kBatch, 6});
  read(2, 0);
  REQUIRE_FALSE(state.memory[0].defined());
}

TEST_CASE("no gradient flows into the pieces before", "[models][language_model]") {
  Generator generator(6);
  const Tensor before = random_ids({4, kBatch}, kVocabulary, generator);
  const Tensor ids = random_ids({4, kBatch}, kVocabulary, generator);
  const Tensor targets = random_ids({4, kBatch}, kVocabulary, generator);
  const auto model = scrambled_model(tiny_config(), kVocabulary, DType::f64);
  const Parameters parameters = model->parameters();
  const auto gradients = [&](LanguageModelState state) {
    zero_grads(parameters);
    backward(cross_entropy(model->logits(ids, state, training(generator, 4)), targets));
    std::vector<Tensor> all;
    for (const NamedVariable& parameter : parameters) {
      all.push_back(parameter.variable.grad().clone());
    }
    return all;
  };
  LanguageModelState carried;
  const Variable earlier = model->logits(before, carried, training(generator, 4));
  LanguageModelState copied;
  for (const NamedTensor& named : carried.named()) {
    (named.name.starts_with("c.") ? copied.c : copied.memory).push_back(named.tensor.clone());
  }
  const auto with_history = gradients(carried);
  const auto without = gradients(copied);
  for (std::size_t i = 0; i < with_history.size(); ++i) {
    INFO(parameters[i].name);
    REQUIRE(same_bits(with_history[i], without[i]));
  }
  // The earlier piece's own history is whole.
  backward(cross_entropy(earlier, targets));
}

TEST_CASE("a state goes through its names and back", "[models][language_model]") {
  Generator generator(7);
  ModelConfig config = tiny_config();
  config.attention_last_n_layers = 1;
  const auto model = scrambled_model(config, kVocabulary);
  LanguageModelState state;
  model->logits(random_ids({4, kBatch}, kVocabulary, generator), state, {{}, 3, 0});
  std::vector<std::string> names;
  for (const NamedTensor& named : state.named()) {
    names.push_back(named.name);
  }
  REQUIRE(names == std::vector<std::string>{"c.0", "c.1", "c.2", "memory.2"});
  LanguageModelState back = LanguageModelState::from_named(state.named());
  const Tensor next = random_ids({2, kBatch}, kVocabulary, generator);
  const Tensor expected = model->logits(next, state, {{}, 3, 0}).value();
  REQUIRE(same_bits(model->logits(next, back, {{}, 3, 0}).value(), expected));

  REQUIRE(LanguageModelState::from_named({}).at_start());
  for (const std::string bad :
       {"d.0", "c.", "c.x", "c.1x", "c.-1", "memory.99999999999999999999", "c.10000", "memory"}) {
    INFO(bad);
    REQUIRE_THAT(error_of([&] {
                   LanguageModelState::from_named({{bad, Tensor::zeros({1})}});
                 }),
                 ContainsSubstring("'" + bad + "'"));
  }
}

TEST_CASE("dropout draws in training and never in evaluation", "[models][language_model]") {
  Generator data(8);
  const Tensor ids = random_ids({6, kBatch}, kVocabulary, data);
  ModelConfig config = tiny_config();
  config.dropout = 0.3;
  config.attention_dropout = 0.2;
  const auto model = scrambled_model(config, kVocabulary);
  const auto scores = [&](const LanguageModelContext& context) {
    LanguageModelState state;
    return model->logits(ids, state, context).value();
  };
  const Tensor evaluated = scores({});
  Generator generator(1);
  REQUIRE(same_bits(scores({{false, &generator}, 0, 0}), evaluated));
  REQUIRE(generator.next_stream() == 0);

  const Tensor first = scores(training(generator));
  // Embedding and output; of three layers attention and transform; the state of the two but last.
  REQUIRE(generator.next_stream() == 2 + 3 * 2 + 2);
  REQUIRE_FALSE(same_bits(first, evaluated));
  REQUIRE_FALSE(same_bits(scores(training(generator)), first));
  Generator again(1);
  REQUIRE(same_bits(scores(training(again)), first));
  REQUIRE_THAT(error_of([&] {
                 scores({{true, nullptr}, 0, 0});
               }),
               ContainsSubstring("needs a generator"));

  const auto without = scrambled_model(tiny_config(), kVocabulary);
  LanguageModelState state;
  Generator untouched(1);
  REQUIRE(same_bits(without->logits(ids, state, training(untouched)).value(), evaluated));
  REQUIRE(untouched.next_stream() == 0);
}

TEST_CASE("a language model explains what does not fit it", "[models][language_model]") {
  Generator generator(9);
  const auto model = scrambled_model(tiny_config(), kVocabulary);
  LanguageModelState state;
  model->logits(random_ids({3, kBatch}, kVocabulary, generator), state, {{}, 3, 0});
  const auto error_with = [&](const Tensor& ids, LanguageModelState of) {
    return error_of([&] { model->logits(ids, of, {}); });
  };
  REQUIRE_THAT(error_with(Tensor::zeros({3}, DType::i32), {}),
               ContainsSubstring("must have shape (T, B)"));
  REQUIRE_THAT(error_with(Tensor(), {}), ContainsSubstring("must have shape (T, B)"));
  Tensor beyond = Tensor::zeros({1, 1}, DType::i32);
  beyond.data<std::int32_t>()[0] = kVocabulary;
  REQUIRE_THAT(error_with(beyond, {}), ContainsSubstring("9"));
  // A state of other streams, and of another model.
  REQUIRE_FALSE(error_with(random_ids({2, kBatch + 1}, kVocabulary, generator), state).empty());
  ModelConfig deeper = tiny_config();
  deeper.num_layers = 4;
  const auto other = scrambled_model(deeper, kVocabulary);
  REQUIRE_THAT(error_of([&] {
                 other->logits(random_ids({2, kBatch}, kVocabulary, generator), state, {});
               }),
               ContainsSubstring("a model with 3 layers, this one has 4"));
}

TEST_CASE("a language model is not built from settings that make no sense",
          "[models][language_model]") {
  using Change = void (*)(ModelConfig&);
  const std::vector<std::pair<Change, std::string>> cases = {
      {[](ModelConfig& c) { c.attention_every_n_layers = 0; }, "attention_every_n_layers is 0"},
      {[](ModelConfig& c) { c.attention_last_n_layers = 1, c.attention_layers = {{1}}; },
       "2 ways to choose the layers that attend"},
      {[](ModelConfig& c) { c.attention_layers = {{9}}; }, "layer 9 is to attend; expected 1 to 3"},
      {[](ModelConfig& c) { c.num_heads = 0; }, "num_heads 0"},
      {[](ModelConfig& c) { c.head_size = -4; }, "head_size -4"},
      {[](ModelConfig& c) { c.projection_size = -5; }, "projection_size -5"},
      {[](ModelConfig& c) { c.embedding_size = -5; }, "embedding_size -5"},
      {[](ModelConfig& c) { c.div_val = 0; }, "div_val 0"},
      {[](ModelConfig& c) { c.dropout = 1.5; }, "dropout is 1.5"},
      {[](ModelConfig& c) { c.type = ModelType::transformer, c.hidden_size = 24, c.num_heads = 5; },
       "5 heads do not divide hidden_size 24"}};
  Generator generator(1);
  Initializer init(generator, Device::cpu());
  for (const auto& [change, message] : cases) {
    ModelConfig config = tiny_config();
    config.attention_every_n_layers.reset();
    config.attention_last_n_layers.reset();
    config.attention_layers.reset();
    config.num_layers = 3;
    change(config);
    REQUIRE_THAT(error_of([&] { build_language_model(config, kVocabulary, init); }),
                 ContainsSubstring(message));
  }
}
