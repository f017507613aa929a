// Both Transformers as language models.
#include "models/transformer.h"

#include <cmath>

#include "models/transformer_xl.h"
#include "ops/elementwise.h"
#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kVocabulary = 11;

ModelConfig config_of(ModelType type) {
  ModelConfig config;
  config.type = type;
  config.hidden_size = 6;
  config.num_layers = 3;
  config.num_heads = 2;
  config.head_size = 4;
  config.inner_size = 9;
  return config;
}

std::unique_ptr<LanguageModel> model_of(ModelType type, DType dtype = DType::f64) {
  return scrambled_model(config_of(type), kVocabulary, dtype, 1, test_device());
}

// The scores of ids, read from a new state in pieces.
Tensor in_pieces(const LanguageModel& model, const Tensor& ids,
                 const std::vector<std::int64_t>& pieces, const LanguageModelContext& context) {
  const NoGradGuard no_grad;
  LanguageModelState state;
  Tensor all = Tensor::empty({ids.size(0), ids.size(1), kVocabulary}, DType::f64);
  std::int64_t start = 0;
  for (const std::int64_t length : pieces) {
    const Variable scores = model.logits(ids.narrow(start, length), state, context);
    all.narrow(start, length).copy_from(on_cpu(scores.value().to(DType::f64)));
    start += length;
  }
  REQUIRE(start == ids.size(0));
  return all;
}

}  // namespace

TEST_CASE("Transformer-XL reads pieces as it reads the whole", "[models][transformer]") {
  Generator generator(1);
  const auto model = model_of(ModelType::transformer_xl);
  const Tensor ids = on_test_device(random_ids({20, 2}, kVocabulary, generator));
  // All of the past remembered, in training's mask.
  const Tensor whole = in_pieces(*model, ids, {20}, {{}, 20, 0});
  REQUIRE(max_relative_error(in_pieces(*model, ids, {7, 1, 12}, {{}, 20, 0}), whole) < 1e-12);
  // Evaluation's.
  const Tensor windowed = in_pieces(*model, ids, {20}, {{}, 6, 6});
  REQUIRE(max_relative_error(windowed, whole) > 1e-3);
  REQUIRE(max_relative_error(in_pieces(*model, ids, {7, 1, 12}, {{}, 6, 6}), windowed) < 1e-12);
  REQUIRE(max_relative_error(in_pieces(*model, ids, {6, 6, 6, 2}, {{}, 6, 6}), windowed) < 1e-12);
}

TEST_CASE("a plain Transformer reads each half of its window again with the next",
          "[models][transformer]") {
  Generator generator(2);
  const auto model = model_of(ModelType::transformer);
  const std::int64_t window = 7;
  REQUIRE(model->evaluation_segment(window) == 4);
  const Tensor ids = on_test_device(random_ids({14, 2}, kVocabulary, generator));
  const Tensor evaluated = in_pieces(*model, ids, {4, 4, 4, 2}, {{}, window, window});
  // What is read again stands at positions 0, 1, 2, and what is new after it.
  for (const auto& [first, begin, end] :
       {std::array{0, 0, 4}, std::array{1, 4, 8}, std::array{5, 8, 12}, std::array{7, 12, 14}}) {
    const Tensor alone = in_pieces(*model, ids.narrow(first, end - first), {end - first}, {});
    REQUIRE(max_relative_error(evaluated.narrow(begin, end - begin),
                               alone.narrow(begin - first, end - begin)) < 1e-12);
  }
}

TEST_CASE("a plain Transformer remembers nothing in training", "[models][transformer]") {
  Generator generator(3);
  const auto model = model_of(ModelType::transformer);
  const Tensor ids = on_test_device(random_ids({5, 2}, kVocabulary, generator));
  const LanguageModelContext training{{true, &generator, Precision::f32}, 5, 0};
  LanguageModelState state;
  const Tensor first = model->logits(ids, state, training).value();
  REQUIRE(state.named().empty());
  REQUIRE(same_bits(model->logits(ids, state, training).value(), first));
}

TEST_CASE("Transformers are stepped where their weights are", "[models][transformer][stream]") {
  Generator generator(4);
  const Tensor ids = random_ids({23, 2}, kVocabulary, generator);
  const std::int64_t window = 6;
  const auto xl = model_of(ModelType::transformer_xl, DType::f32);
  const auto plain = model_of(ModelType::transformer, DType::f32);
  const Tensor expected_xl = in_pieces(*xl, on_test_device(ids), {23}, {{}, window, window});
  for (const std::int64_t prompt : {0, 1, 4, 6, 15}) {
    const auto stream = xl->start_stream(2, window);
    const auto plain_stream = plain->start_stream(2, window);
    // A plain Transformer goes on from the positions it last read at once.
    std::int64_t first = 0;
    if (prompt > 0) {
      REQUIRE(max_relative_error(stream->prefill(ids.narrow(0, prompt)), expected_xl[prompt - 1]) <
              1e-5);
      plain_stream->prefill(ids.narrow(0, prompt));
      first = std::max<std::int64_t>(0, prompt - window);
    }
    for (std::int64_t t = prompt; t < ids.size(0); ++t) {
      INFO("prompt " << prompt << ", position " << t);
      REQUIRE(max_relative_error(stream->step(ids[t]), expected_xl[t]) < 1e-5);
      if (t - first == window) {
        first = t - window / 2;
      }
      const Tensor since =
          in_pieces(*plain, on_test_device(ids.narrow(first, t + 1 - first)), {t + 1 - first}, {});
      REQUIRE(max_relative_error(plain_stream->step(ids[t]), since[t - first]) < 1e-5);
    }
  }
}

TEST_CASE("a prompt read once serves every stream of a Transformer",
          "[models][transformer][stream]") {
  Generator generator(5);
  const Tensor prompt = random_ids({9, 1}, kVocabulary, generator);
  const Tensor next = random_ids({3, 2}, kVocabulary, generator);
  for (const ModelType type : {ModelType::transformer, ModelType::transformer_xl}) {
    const auto model = model_of(type, DType::f32);
    const auto both = model->start_stream(2, 5);
    both->prefill(prompt);
    for (std::int64_t s = 0; s < 2; ++s) {
      const auto alone = model->start_stream(1, 5);
      alone->prefill(prompt);
      const auto again = model->start_stream(2, 5);
      again->prefill(prompt);
      for (std::int64_t t = 0; t < 3; ++t) {
        const Tensor id = next[t].narrow(s, 1);
        REQUIRE(same_bits(again->step(next[t])[s], alone->step(id)[0]));
      }
    }
  }
}

TEST_CASE("a state of a Transformer is known by its name", "[models][transformer]") {
  Generator generator(6);
  const Tensor ids = on_test_device(random_ids({9, 2}, kVocabulary, generator));
  const LanguageModelContext context{{}, 4, 4};
  for (const ModelType type : {ModelType::transformer, ModelType::transformer_xl}) {
    const auto model = model_of(type);
    LanguageModelState state;
    model->logits(ids.narrow(0, 4), state, context);
    REQUIRE_FALSE(state.at_start());
    std::vector<std::string> names;
    for (const NamedTensor& named : state.named()) {
      names.push_back(named.name);
    }
    REQUIRE(names == (type == ModelType::transformer
                          ? std::vector<std::string>{"memory.0"}
                          : std::vector<std::string>{"memory.0", "memory.1", "memory.2"}));
    LanguageModelState back = LanguageModelState::from_named(state.named());
    REQUIRE(same_bits(model->logits(ids.narrow(4, 2), back, context).value(),
                      model->logits(ids.narrow(4, 2), state, context).value()));
    // States of one kind of model are refused by another.
    const auto srupp = scrambled_model(tiny_config(), kVocabulary, DType::f64, 1, test_device());
    LanguageModelState of_srupp;
    srupp->logits(ids, of_srupp, context);
    REQUIRE_THAT(error_of([&] { model->logits(ids, of_srupp, context); }),
                 ContainsSubstring("the state has a c or an h"));
    REQUIRE_THAT(error_of([&] { srupp->logits(ids, back, context); }),
                 ContainsSubstring("a model with 0 layers, this one has 3"));
  }
}

TEST_CASE("a few steps of training lower the loss of a Transformer", "[models][transformer]") {
  Generator generator(7);
  const Tensor ids = on_test_device(random_ids({17, 2}, kVocabulary, generator));
  for (const ModelType type : {ModelType::transformer, ModelType::transformer_xl}) {
    ModelConfig config = config_of(type);
    config.dropout = 0.05;
    config.attention_dropout = 0.05;
    Generator seed(8);
    Initializer init(seed, test_device(), DType::f64);
    const auto model = build_language_model(config, kVocabulary, init);
    LanguageModelState state;
    std::vector<double> losses;
    for (int step = 0; step < 150; ++step) {
      const LanguageModelContext context{{true, &generator, Precision::f32}, 8, 0};
      const std::int64_t start = step % 2 * 8;
      if (start == 0) {
        state = {};
      }
      const Variable loss =
          model->loss(ids.narrow(start, 8), ids.narrow(start + 1, 8), state, context);
      losses.push_back(loss.value().item());
      backward(loss);
      for (NamedVariable parameter : model->parameters()) {
        INFO(parameter.name);
        REQUIRE(parameter.variable.grad().defined());
        Tensor step_taken = parameter.variable.grad().clone();
        parameter.variable.value().add_(scale(Variable(step_taken), -0.3).value());
        parameter.variable.zero_grad();
      }
    }
    REQUIRE(losses.back() < 0.6 * losses.front());
  }
}

TEST_CASE("Transformers explain what does not fit", "[models][transformer]") {
  Generator generator(9);
  Initializer init(generator, test_device(), DType::f64);
  const TransformerOptions options{6, 2, 2, 3, 8};
  const TransformerStack plain(options, init);
  const TransformerXlStack xl(options, init);
  for (const RecurrentStack* stack :
       {static_cast<const RecurrentStack*>(&plain), static_cast<const RecurrentStack*>(&xl)}) {
    const auto error_with = [&](const auto& change) {
      StackInputs inputs;
      inputs.x = Variable(random_tensor({4, 2, 6}, DType::f64, generator));
      change(inputs);
      return error_of([&] { stack->forward(inputs, {}); });
    };
    REQUIRE_THAT(error_with([&](StackInputs& in) {
                   in.x = Variable(random_tensor({4, 2, 5}, DType::f64, generator));
                 }),
                 ContainsSubstring("x has shape [4, 2, 5]; expected (T, B, 6)"));
    REQUIRE_THAT(error_with([](StackInputs& in) { in.c0.resize(2); }),
                 ContainsSubstring("a c or an h"));
    REQUIRE_THAT(error_with([](StackInputs& in) { in.memory.resize(3); }),
                 ContainsSubstring("memory has 3 entries for 2 layers"));
    REQUIRE_THAT(error_with([&](StackInputs& in) {
                   in.memory.resize(2);
                   in.memory[0] = Variable(random_tensor({3, 1, 6}, DType::f64, generator));
                 }),
                 ContainsSubstring("memory has shape [3, 1, 6]; expected (M, 2, 6)"));
    REQUIRE_THAT(error_with([](StackInputs& in) {
                   in.mask_pad = Tensor::zeros({4, 2}, DType::boolean);
                 }),
                 ContainsSubstring("padding"));
  }
  REQUIRE_THAT(error_of([&] {
                 TransformerStack({6, 2, 2, 3, 0}, init);
               }),
               ContainsSubstring("inner size must be from 1"));
}

TEST_CASE("sinusoids rise, fall and are spread over a batch", "[models][transformer]") {
  const Sinusoids sinusoids(5);
  const Tensor falling = sinusoids.falling(4, DType::f64, Device::cpu());
  const Tensor spread = sinusoids.spread(4, 2, DType::f64, Device::cpu());
  for (std::int64_t p = 0; p < 4; ++p) {
    for (std::int64_t i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * i / 5.0);
      for (const Tensor& row : {falling[3 - p], spread[p][0], spread[p][1]}) {
        REQUIRE(row.data<double>()[i] == Approx(std::sin(angle)).margin(1e-12));
        if (3 + i < 5) {
          REQUIRE(row.data<double>()[3 + i] == Approx(std::cos(angle)));
        }
      }
    }
  }
  // A shorter table is the end of a longer one, whichever was made first.
  REQUIRE(same_bits(sinusoids.falling(2, DType::f64, Device::cpu()), falling.narrow(2, 2)));
  REQUIRE(same_bits(sinusoids.spread(2, 2, DType::f64, Device::cpu()), spread.narrow(0, 2)));
  REQUIRE(sinusoids.falling(6, DType::f32, Device::cpu()).dtype() == DType::f32);
}
