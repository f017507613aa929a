// Training on words and on pieces of words, end to end: what the run folder, the model file and a
// resumed run make of them.
#include <cmath>

#include "data/prepare_pieces.h"
#include "data/prepare_words.h"
#include "models/generation.h"
#include "tests/support/tiny_runs.h"
#include "trainers/learning_curve.h"
#ifdef RONDO_TEST_SENTENCEPIECE
#include "tests/support/piece_model.h"
#endif

using namespace rondo;
using namespace rondo::testing;

namespace {

// Lines of seven words in an order that `factor` decides, but for the first: every word is there as
// often, and met first in the same order, whatever it is.
void write_words(const std::filesystem::path& path, int factor) {
  constexpr std::array<std::string_view, 7> kWords = {"a",   "big", "cat", "<unk>",
                                                      "ate", "the", "hat"};
  std::string text;
  for (int line = 0; line < 60; ++line) {
    for (int i = 0; i < 7; ++i) {
      text += kWords[static_cast<std::size_t>((i * (line == 0 ? 1 : factor) + line) % 7)];
      text += i < 6 ? " " : "\n";
    }
  }
  write_bytes(path, text);
}

struct WordRuns : TinyRuns {
  WordRuns() {
    for (const int factor : {1, 3}) {
      const std::string name = fmt::format("words{}", factor);
      write_words(path(name), factor);
      prepare_words({path(name), path(name + "_corpus"), "words"});
    }
  }
  Config word_config(const std::string& name) const {
    Config c = config(name);
    c.data.corpus = path("words1_corpus").string();
    c.training.unroll = 10;
    c.evaluation.unroll = 8;
    return c;
  }
};

}  // namespace

TEST_CASE("a run on words tells perplexities", "[trainers][words]") {
  const WordRuns runs;
  const Config config = runs.word_config("run");
  const TrainingSummary summary = runs.train(config);
  const std::vector<MetricsRecord> records = read_metrics(runs.path("run") / "metrics.jsonl");
  int compared = 0;
  for (const MetricsRecord& record : records) {
    INFO(record.kind << " at " << record.step);
    REQUIRE(std::isnan(record.number("bpc")));
    REQUIRE(record.number("ppl") == Approx(std::exp(record.number("nats_per_token"))));
    compared += record.kind == "dev" ? 1 : 0;
    REQUIRE((record.kind != "dev" || record.number("train_tokens") > 0));
  }
  REQUIRE(compared == 3);
  REQUIRE(std::isfinite(*summary.best_dev_nats));
  const LearningCurve curve = learning_curve(records, "words");
  REQUIRE(curve.perplexity);
  REQUIRE(curve.dev.size() == 3);
  REQUIRE_THAT(draw_learning_curve(curve), ContainsSubstring("perplexity"));
}

TEST_CASE("a model of words is saved with its words", "[trainers][words]") {
  const WordRuns runs;
  runs.train(runs.word_config("run"));
  const LoadedModel loaded = load_model(load_checkpoint(runs.path("run")), test_device());
  const Corpus corpus = Corpus::open(runs.path("words1_corpus").string());
  const Vocabulary& vocabulary = loaded.description.vocabulary;
  REQUIRE(vocabulary == corpus.vocabulary());
  REQUIRE(vocabulary.unit() == Unit::words);
  REQUIRE(vocabulary.words().word(0) == "<eos>");

  std::string text = "the cat";
  std::int32_t previous = vocabulary.encode(text).back();
  std::int64_t words = 0;
  generate(*loaded.model, vocabulary.encode(text), {{}, 20, 8, 1}, [&](std::int32_t id) {
    text += vocabulary.text_after(previous, id);
    previous = id;
    ++words;
    return true;
  });
  REQUIRE(words == 20);
  REQUIRE(vocabulary.encode(text).size() == 22);  // what is printed reads as the same ids

  EvaluationOptions options;
  options.window = 8;
  options.max_tokens = std::numeric_limits<std::int64_t>::max();
  const TokenText dev = corpus.split(Split::dev, vocabulary);
  REQUIRE(evaluate(*loaded.model, dev, options).tokens == dev.size() - 1);
  const Corpus bytes = Corpus::open(runs.path("corpus").string());
  REQUIRE_THAT(error_of([&] { bytes.split(Split::dev, vocabulary); }),
               ContainsSubstring("bytes") && ContainsSubstring("words"));
}

TEST_CASE("a run is not resumed on another text of equal size", "[trainers][words]") {
  const WordRuns runs;
  Config config = runs.word_config("run");
  runs.train(config, false, 6);
  config.data.corpus = runs.path("words3_corpus").string();
  const Corpus other = Corpus::open(config.data.corpus);
  const Corpus first = Corpus::open(runs.path("words1_corpus").string());
  REQUIRE(other.vocabulary() == first.vocabulary());
  REQUIRE(other.split(Split::train).size() == first.split(Split::train).size());
  REQUIRE_THAT(error_of([&] { runs.train(config, true); }),
               ContainsSubstring("another text") && ContainsSubstring("though as long"));
}

#ifdef RONDO_TEST_SENTENCEPIECE
TEST_CASE("a model of pieces is saved with its pieces", "[trainers][pieces]") {
  const WordRuns runs;
  const std::string model = train_piece_model(piece_lines(), 20);
  write_bytes(runs.path("pieces.model"), model);
  std::string text;
  for (const std::string& line : piece_lines()) {
    text += line + "\n";
  }
  write_bytes(runs.path("pieces.txt"), text);
  prepare_pieces({runs.path("pieces.txt"), runs.path("pieces_corpus")}, runs.path("pieces.model"));
  Config config = runs.word_config("run");
  config.data.corpus = runs.path("pieces_corpus").string();
  runs.train(config);
  for (const MetricsRecord& record : read_metrics(runs.path("run") / "metrics.jsonl")) {
    INFO(record.kind << " at " << record.step);
    REQUIRE(record.number("ppl") == Approx(std::exp(record.number("nats_per_token"))));
  }

  const LoadedModel loaded = load_model(load_checkpoint(runs.path("run")), test_device());
  const Vocabulary& vocabulary = loaded.description.vocabulary;
  const Corpus corpus = Corpus::open(config.data.corpus);
  REQUIRE(vocabulary == corpus.vocabulary());
  REQUIRE(vocabulary.pieces().model() == model);
  std::vector<std::int32_t> ids = vocabulary.encode("the cat");
  std::string grown = "the cat";
  generate(*loaded.model, ids, {{}, 20, 8, 1}, [&](std::int32_t id) {
    grown += vocabulary.text_after(ids.back(), id);
    ids.push_back(id);
    return true;
  });
  REQUIRE(vocabulary.decode(ids) == grown);
}
#endif
