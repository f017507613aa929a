#include <atomic>
#include <cstdlib>
#include <new>

#include "core/allocator.h"
#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

std::atomic<std::int64_t> news{0};  // calls of operator new in this program

}  // namespace

// Address sanitizer has an operator new of its own, and objects its own libraries made with it:
// calls are not counted there.
#if !defined(__SANITIZE_ADDRESS__)
// Not inlined: the compiler would see free() meet what it takes for another operator new.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++news;
  if (void* block = std::malloc(bytes > 0 ? bytes : 1)) {
    return block;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* block) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept { std::free(block); }
#endif

namespace {

constexpr std::int64_t kVocabulary = 11;
constexpr double kTolerance = 1e-5;

struct NamedConfig {
  std::string name;
  ModelConfig config;
};

// Every choice that changes what a step computes.
std::vector<NamedConfig> configs() {
  std::vector<NamedConfig> all;
  const auto add = [&](const std::string& name, ModelType type, const auto& change) {
    ModelConfig config = tiny_config();
    config.type = type;
    change(config);
    all.push_back({name, config});
  };
  const auto srupp = ModelType::srupp;
  const auto sru = ModelType::sru;
  add("all attend", srupp, [](ModelConfig&) {});
  add("one head", srupp, [](ModelConfig& c) { c.num_heads = 1; });
  add("one layer attends", srupp, [](ModelConfig& c) { c.attention_layers = {2}; });
  add("none attends", srupp, [](ModelConfig& c) { c.attention_last_n_layers = 0; });
  add("normalised before attention", srupp,
      [](ModelConfig& c) { c.attention_normalize_after = false; });
  add("no attention LayerNorm", srupp, [](ModelConfig& c) { c.attention_layer_norm = false; });
  add("LayerNorm before layers", srupp, [](ModelConfig& c) { c.layer_norm = LayerNormPlace::pre; });
  add("LayerNorm after layers", srupp, [](ModelConfig& c) { c.layer_norm = LayerNormPlace::post; });
  add("rescaled", srupp, [](ModelConfig& c) { c.rescale = true; });
  add("beyond vectors", srupp, [](ModelConfig& c) {
    c.hidden_size = 37;
    c.projection_size = 21;
    c.num_heads = 3;
  });
  add("SRU", sru, [](ModelConfig& c) { c.projection_size = 0; });
  add("projected SRU", sru, [](ModelConfig&) {});
  add("tanh", sru, [](ModelConfig& c) { c.activation = Activation::tanh; });
  add("no skip term", sru, [](ModelConfig& c) { c.has_skip_term = false; });
  const auto lstm = [](ModelConfig& c) { c.projection_size = 0; };
  add("LSTM", ModelType::lstm, lstm);
  add("LSTM beyond vectors", ModelType::lstm, [&](ModelConfig& c) {
    lstm(c);
    c.hidden_size = 37;
  });
  add("tied rows", srupp, [](ModelConfig& c) { c.tie_weights = true; });
  const auto adaptive = [](ModelConfig& c) {
    c.softmax = SoftmaxType::adaptive;
    c.cutoffs = std::vector<std::int64_t>{4, 7};
    c.embedding_size = 5;
  };
  add("adaptive softmax", srupp, [&](ModelConfig& c) {
    adaptive(c);
    c.div_val = 2;
  });
  add("adaptive softmax, a cluster of no rows", ModelType::lstm, [&](ModelConfig& c) {
    lstm(c);
    adaptive(c);
    c.tie_projections = false;
  });
  return all;
}

std::unique_ptr<LanguageModel> model_of(const ModelConfig& config) {
  return scrambled_model(config, kVocabulary, DType::f32, 1, test_device());
}

// The scores (T, B, V) that the parallel path gives after every position: in one call, or one id at
// a time where that makes a difference (memory stays raw where LayerNorm stands before layers).
Tensor parallel_scores(const LanguageModel& model, const Tensor& ids, std::int64_t window,
                       bool one_by_one) {
  const NoGradGuard no_grad;
  LanguageModelState state;
  const LanguageModelContext context{{}, window, window};
  if (!one_by_one) {
    return model.logits(ids, state, context).value();
  }
  Tensor all = Tensor::empty({ids.size(0), ids.size(1), model.vocabulary_size()});
  for (std::int64_t t = 0; t < ids.size(0); ++t) {
    all[t].copy_from(model.logits(ids.narrow(t, 1), state, context).value()[0]);
  }
  return all;
}

// Texts that stand side by side, cut out of `ids`.
Tensor column(const Tensor& ids, std::int64_t b) {
  Tensor one = Tensor::empty({ids.size(0), 1}, ids.dtype());
  for (std::int64_t t = 0; t < ids.size(0); ++t) {
    one.data<std::int32_t>()[t] = ids.data<std::int32_t>()[t * ids.size(1) + b];
  }
  return one;
}

}  // namespace

TEST_CASE("steps give the scores of the parallel path", "[models][stream]") {
  Generator generator(5);
  for (const auto& [name, config] : configs()) {
    const auto model = model_of(config);
    const bool one_by_one = config.layer_norm == LayerNormPlace::pre;
    const Tensor ids = random_ids({25, 3}, kVocabulary, generator);
    for (const std::int64_t window : {1, 6, 24, 100}) {  // the ring turns, just does not, never
      INFO(name << ", window " << window);
      const Tensor expected = parallel_scores(*model, ids, window, one_by_one);
      const auto stream = model->start_stream(3, window);
      for (std::int64_t t = 0; t < ids.size(0); ++t) {
        INFO("position " << t);
        const Tensor& scores = stream->step(ids[t]);
        REQUIRE(scores.device().is_cpu());  // where the next id is chosen
        REQUIRE(max_relative_error(scores, expected[t]) < kTolerance);
      }
    }
  }
}

TEST_CASE("steps go on from a prompt of any length", "[models][stream]") {
  Generator generator(6);
  for (const auto& [name, config] : configs()) {
    const auto model = model_of(config);
    // With LayerNorm before layers a longer call sees other keys than steps do: a prompt of one.
    const bool pre = config.layer_norm == LayerNormPlace::pre;
    const std::int64_t window = 6;
    const Tensor ids = random_ids({25, 2}, kVocabulary, generator);
    const Tensor expected = parallel_scores(*model, ids, window, pre);
    for (const std::int64_t prompt : {1, 5, 6, 7, 13, 18}) {
      if (pre && prompt > 1) {
        continue;
      }
      INFO(name << ", prompt " << prompt);
      const auto stream = model->start_stream(2, window);
      REQUIRE(max_relative_error(stream->prefill(ids.narrow(0, prompt)), expected[prompt - 1]) <
              kTolerance);
      for (std::int64_t t = prompt; t < ids.size(0); ++t) {
        INFO("position " << t);
        REQUIRE(max_relative_error(stream->step(ids[t]), expected[t]) < kTolerance);
      }
    }
  }
}

TEST_CASE("more positions than a piece of attention, with any threads", "[models][stream]") {
  ModelConfig config = tiny_config();
  config.hidden_size = 40;
  config.projection_size = 24;
  const auto model = model_of(config);
  Generator generator(7);
  const Tensor ids = random_ids({300, 1}, kVocabulary, generator);
  const std::int64_t window = 150;
  const Tensor expected = parallel_scores(*model, ids, window, false);
  Tensor first;  // what one thread gives
  for_thread_counts([&] {
    const auto stream = model->start_stream(1, window);
    stream->prefill(ids.narrow(0, 100));
    for (std::int64_t t = 100; t < ids.size(0); ++t) {
      const Tensor& scores = stream->step(ids[t]);
      INFO("position " << t);
      REQUIRE(max_relative_error(scores, expected[t]) < kTolerance);
    }
    const Tensor last = stream->step(ids[0]).clone();
    if (first.defined()) {
      REQUIRE(same_bits(last, first));
    }
    first = last;
  });
}

TEST_CASE("a text does not depend on the texts beside it", "[models][stream]") {
  Generator generator(8);
  for (const auto& [name, config] : configs()) {
    const auto model = model_of(config);
    const std::int64_t streams = 7;  // tiles of four, two and one
    const Tensor ids = random_ids({20, streams}, kVocabulary, generator);
    const auto together = model->start_stream(streams, 5);
    std::vector<std::unique_ptr<LanguageModelStream>> alone;
    std::vector<Tensor> texts;
    for (std::int64_t b = 0; b < streams; ++b) {
      alone.push_back(model->start_stream(1, 5));
      texts.push_back(column(ids, b));
    }
    for (std::int64_t t = 0; t < ids.size(0); ++t) {
      const Tensor& scores = together->step(ids[t]);
      for (std::size_t b = 0; b < alone.size(); ++b) {
        INFO(name << ", position " << t << ", text " << b);
        REQUIRE(
            same_bits(alone[b]->step(texts[b][t]), scores.narrow(static_cast<std::int64_t>(b), 1)));
      }
    }
  }
}

TEST_CASE("one prompt serves all texts", "[models][stream]") {
  const auto model = model_of(tiny_config());
  Generator generator(9);
  const Tensor prompt = random_ids({9, 1}, kVocabulary, generator);
  const Tensor next = random_ids({4, 3}, kVocabulary, generator);
  const auto together = model->start_stream(3, 5);
  const Tensor scores = together->prefill(prompt).clone();
  for (std::int64_t b = 0; b < 3; ++b) {
    const auto alone = model->start_stream(1, 5);
    REQUIRE(same_bits(alone->prefill(prompt), scores.narrow(b, 1)));
  }
  const auto alone = model->start_stream(1, 5);
  alone->prefill(prompt);
  const Tensor last = column(next, 2);
  for (std::int64_t t = 0; t < next.size(0); ++t) {
    REQUIRE(same_bits(alone->step(last[t]), together->step(next[t]).narrow(2, 1)));
  }
}

TEST_CASE("a step takes no memory", "[models][stream]") {
  Generator generator(10);
  for (const auto& [name, config] : configs()) {
    INFO(name);
    const auto model = model_of(config);
    const auto stream = model->start_stream(2, 6);
    const Tensor ids = random_ids({30, 2}, kVocabulary, generator);
    stream->prefill(ids.narrow(0, 10));
    CachingAllocator& memory = allocator(test_device());
    memory.reset_peak();
    const MemoryStats before = memory.stats();
    const std::int64_t news_before = news;
    for (std::int64_t t = 10; t < ids.size(0); ++t) {
      stream->step(ids[t]);
    }
    const std::int64_t news_after = news;
    const MemoryStats after = memory.stats();
    if (test_device().is_cpu()) {  // launches have a memory of their own
      REQUIRE(news_after == news_before);
    }
    REQUIRE(after.in_use_bytes == before.in_use_bytes);
    REQUIRE(after.peak_bytes == before.in_use_bytes);  // nothing was taken and given back either
    REQUIRE(after.reserved_bytes == before.reserved_bytes);
    REQUIRE(after.system_allocations == before.system_allocations);
  }
}

TEST_CASE("streams explain what they cannot use", "[models][stream]") {
  const auto model = model_of(tiny_config());
  REQUIRE_THAT(error_of([&] { model->start_stream(0, 5); }), ContainsSubstring("0 streams"));
  REQUIRE_THAT(error_of([&] { model->start_stream(1, 0); }), ContainsSubstring("window is 0"));
  const auto wide = scrambled_model(tiny_config(), kVocabulary, DType::f64, 1, test_device());
  REQUIRE_THAT(error_of([&] { wide->start_stream(1, 5); }),
               ContainsSubstring("f64") && ContainsSubstring("f32"));

  const auto stream = model->start_stream(2, 5);
  const auto ids = [](std::vector<std::int32_t> values, const Shape& shape) {
    return Tensor::from(values, shape);
  };
  REQUIRE_THAT(error_of([&] {
                 stream->prefill(ids({1, 2, 3}, {1, 3}));
               }),
               ContainsSubstring("[1, 3]") && ContainsSubstring("(T, 2) or (T, 1)"));
  REQUIRE_THAT(error_of([&] {
                 stream->prefill(Tensor::empty({0, 2}, DType::i32));
               }),
               ContainsSubstring("T at least 1"));
  REQUIRE_THAT(error_of([&] {
                 stream->step(ids({1, 2, 3}, {3}));
               }),
               ContainsSubstring("[3]; expected [2]"));
  REQUIRE_THAT(error_of([&] {
                 stream->step(ids({1, 11}, {2}));
               }),
               ContainsSubstring("11 at position 1") && ContainsSubstring("expected 0 to 10"));
  REQUIRE_THAT(error_of([&] { stream->step(Tensor::zeros({2})); }), ContainsSubstring("i32"));
  stream->step(ids({1, 2}, {2}));
  REQUIRE_THAT(error_of([&] {
                 stream->prefill(ids({1}, {1, 1}));
               }),
               ContainsSubstring("only a stream at its start"));
}
