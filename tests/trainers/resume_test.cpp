// A run that was stopped and resumed is the run that was never stopped, byte for byte.
#include "data/prepare.h"
#include "ops/cross_entropy.h"
#include "tests/support/testing.h"
#include "tests/support/tiny_runs.h"
#include "trainers/metrics_log.h"

using namespace rondo;
using namespace rondo::testing;

namespace fs = std::filesystem;

namespace {

// Trains the changed model in one go, and again with a stop on the way.
void require_learns_and_resumes(const std::function<void(ModelConfig&)>& change) {
  const TinyRuns runs;
  const auto config = [&](const std::string& name) {
    Config c = runs.config(name);
    c.model.hidden_size = 12;
    change(c.model);
    c.optimizer.type = OptimizerType::adam;
    c.optimizer.lr = 0.1;
    c.optimizer.weight_decay = 0.0;
    c.training.steps = 30;
    return c;
  };
  runs.train(config("straight"));
  std::vector<double> losses;
  for (const MetricsRecord& record : read_metrics(runs.path("straight") / "metrics.jsonl")) {
    if (record.kind == "train") {
      losses.push_back(record.number("bpc"));
    }
  }
  REQUIRE(losses.size() == 30);
  REQUIRE(losses.back() < 0.5 * losses.front());  // the text repeats itself every seven bytes
  runs.train(config("stopped"), false, 7);        // within an epoch: h and c are carried over
  runs.train(config("stopped"), true);
  runs.require_same("straight", "stopped");
}

}  // namespace

TEST_CASE("a run stopped after any step and resumed ends with the same bytes",
          "[trainers][resume]") {
  const TinyRuns runs;
  const TrainingSummary straight = runs.train(runs.config("straight"));
  REQUIRE(straight.steps == 12);
  REQUIRE_FALSE(straight.stopped);
  const std::int64_t stride = test_device().is_cpu() ? 1 : 5;  // the emulation of a GPU is slow
  for (std::int64_t stop = 0; stop <= 11; stop += stride) {
    INFO("stopped after step " << stop);
    const std::string name = "stopped_" + std::to_string(stop);
    REQUIRE(runs.train(runs.config(name), false, stop).stopped);
    REQUIRE(runs.train(runs.config(name), true).steps == 12);
    runs.require_same("straight", name);
    std::int64_t expected = 1;
    for (const MetricsRecord& record : read_metrics(runs.path(name) / "metrics.jsonl")) {
      if (record.kind == "train") {
        REQUIRE(record.step == expected++);
      }
    }
    REQUIRE(expected == 13);
  }
}

TEST_CASE("an LSTM learns, and goes on where it was stopped", "[trainers][resume]") {
  require_learns_and_resumes([](ModelConfig& model) {
    model.type = ModelType::lstm;
    model.projection_size = 0;
    model.attention_dropout = 0.0;
  });
}

TEST_CASE("a SHA-LSTM learns, and goes on where it was stopped", "[trainers][resume]") {
  require_learns_and_resumes([](ModelConfig& model) {
    model.type = ModelType::sha_lstm;
    model.projection_size = 0;
    model.inner_size = 2 * model.hidden_size;
  });
}

TEST_CASE("an adaptive softmax learns, and goes on where it was stopped", "[trainers][resume]") {
  require_learns_and_resumes([](ModelConfig& model) {
    model.softmax = SoftmaxType::adaptive;
    model.cutoffs = std::vector<std::int64_t>{1, 3};  // of four bytes
    model.div_val = 2;
    model.embedding_dropout = 0.1;
  });
}

TEST_CASE("a run that died after its last save repeats the lost steps exactly",
          "[trainers][resume]") {
  const TinyRuns runs;
  runs.train(runs.config("straight"));
  // Stopped cleanly at step 4; then lines of steps that no checkpoint has, and half a line.
  Config c = runs.config("died");
  runs.train(c, false, 4);
  const fs::path log = runs.path("died") / "metrics.jsonl";
  const std::string kept = read_bytes(log);
  write_bytes(log, kept + R"({"kind":"train","step":5,"bpc":1.0})"
                          "\n"
                          R"({"kind":"tra)");
  runs.train(c, true);
  runs.require_same("straight", "died");
  REQUIRE(read_bytes(log).rfind(kept, 0) == 0);
  REQUIRE(read_bytes(log).find(R"("bpc":1.0})") == std::string::npos);
}

TEST_CASE("the seed decides everything", "[trainers][resume]") {
  const TinyRuns runs;
  for (const std::int64_t threads : {1, 2}) {
    const auto run = [&](const std::string& name, std::uint64_t seed) {
      Config c = runs.config(name + std::to_string(threads));
      c.run.threads = threads;
      c.run.seed = seed;
      c.training.steps = 4;
      runs.train(c);
      return runs.bytes(name + std::to_string(threads), "model.safetensors");
    };
    const std::string first = run("first", 1);
    REQUIRE(run("again", 1) == first);
    REQUIRE(run("other", 2) != first);
  }
  set_num_threads(0);
}

TEST_CASE("a run is resumed only as itself", "[trainers][resume]") {
  const TinyRuns runs;
  const Config c = runs.config("run");
  runs.train(c, true, 5);  // there is nothing to resume: it starts
  REQUIRE_THAT(error_of([&] { runs.train(c); }),
               ContainsSubstring("already holds a run") && ContainsSubstring("--resume"));
  Config wider = c;
  wider.model.hidden_size = 8;
  REQUIRE_THAT(error_of([&] { runs.train(wider, true); }), ContainsSubstring("another model"));
  Config other_batch = c;
  other_batch.training.batch_size = 2;
  REQUIRE_THAT(error_of([&] { runs.train(other_batch, true); }),
               ContainsSubstring("training.batch_size"));
  write_bytes(runs.path("other"), std::string(500, 'x') + std::string(500, 'y'));
  prepare_text({runs.path("other"), runs.path("other_corpus"), ""});
  Config elsewhere = c;
  elsewhere.data.corpus = runs.path("other_corpus").string();
  REQUIRE_THAT(error_of([&] { runs.train(elsewhere, true); }), ContainsSubstring("corpus"));

  const fs::path model = runs.path("run") / "checkpoints/last/model.safetensors";
  const std::string whole = read_bytes(model);
  write_bytes(model, whole.substr(0, whole.size() - 4));
  REQUIRE_THAT(error_of([&] { runs.train(c, true); }), ContainsSubstring("model.safetensors"));
  write_bytes(model, whole);
  REQUIRE(runs.train(c, true).steps == 12);
  // A finished run has nothing left to do, and stays as it is.
  const std::string finished = runs.bytes("run", "model.safetensors");
  REQUIRE(runs.train(c, true).steps == 12);
  REQUIRE(runs.bytes("run", "model.safetensors") == finished);
}

TEST_CASE("a loss that is no number stops the run and keeps the last good checkpoint",
          "[trainers][resume]") {
  const TinyRuns runs;
  Config c = runs.config("run");
  runs.train(c, false, 4);
  const std::string good = runs.bytes("run", "model.safetensors");
  c.evaluation.every = 0;  // nothing is saved between
  c.optimizer.lr = 1e30;
  c.training.clip_grad_norm = 0.0;
  const std::string message = error_of([&] { runs.train(c, true); });
  REQUIRE_THAT(message, ContainsSubstring("training stopped at step") &&
                            ContainsSubstring("step_00000004") &&
                            ContainsSubstring("optimizer.lr"));
  REQUIRE(runs.bytes("run", "model.safetensors") == good);
  REQUIRE_NOTHROW(load_model(load_checkpoint(runs.path("run"), CheckpointChoice::last)));
}

TEST_CASE("accumulating two segments averages their gradients", "[trainers][resume]") {
  // With plain SGD and no dropout, one step of two segments moves the weights by the mean of what
  // each moves them alone from the same place, the second with the state that the first left.
  const TinyRuns runs;
  Config c = runs.config("two");
  c.model.dropout = c.model.attention_dropout = 0.0;
  c.optimizer = {};
  c.optimizer.type = OptimizerType::sgd;
  c.optimizer.weight_decay = 0.0;
  c.optimizer.lr = 0.5;
  c.schedule.type = ScheduleType::constant;
  c.training.clip_grad_norm = 0.0;
  c.training.steps = 1;
  runs.train(c);
  const LoadedModel trained = load_model(load_checkpoint(runs.path("two")));

  const Corpus corpus = Corpus::open(c.data.corpus);
  Generator generator(c.run.seed);
  Initializer init(generator, test_device());
  const auto model = build_language_model(c.model, corpus.vocabulary().size(), init);
  const Parameters parameters = model->parameters();
  StreamOptions streams;
  streams.batch_size = c.training.batch_size;
  streams.unroll = c.training.unroll;
  const StreamBatcher batches(corpus.split(Split::train), streams);
  LanguageModelState state;
  LanguageModelContext context;
  context.forward = {true, &generator};
  context.memory_length = c.training.unroll;
  for (std::int64_t i = 0; i < 2; ++i) {  // gradients add up over both
    const Segment segment = batches.segment(i);
    backward(cross_entropy(model->logits(on_test_device(segment.inputs), state, context),
                           on_test_device(segment.targets)));
  }
  const Parameters ours = trained.model->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    INFO(parameters[i].name);
    Tensor expected = on_cpu(parameters[i].variable.value()).clone();
    const Tensor grad = on_cpu(parameters[i].variable.grad());
    for (std::int64_t j = 0; j < expected.numel(); ++j) {
      expected.data<float>()[j] -= 0.5F * 0.5F * grad.data<float>()[j];
    }
    REQUIRE(max_relative_error(ours[i].variable.value(), expected) < 1e-6);
  }
}

TEST_CASE("a copy of a run that has lost its links keeps its best checkpoint",
          "[trainers][resume]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.evaluation.every = 4;
  runs.train(config, false, 6);
  const auto checkpoints = runs.path("run") / "checkpoints";
  const auto best = std::filesystem::read_symlink(checkpoints / "best");
  REQUIRE(best != std::filesystem::read_symlink(checkpoints / "last"));
  std::filesystem::remove(checkpoints / "best");
  std::filesystem::remove(checkpoints / "last");
  config.evaluation.every = 0;
  runs.train(config, true, 7);
  REQUIRE(std::filesystem::read_symlink(checkpoints / "best") == best);

  // Nor is it lost in silence where it is not there at all.
  std::filesystem::remove_all(checkpoints / best);
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, true); }),
               ContainsSubstring("has lost its best checkpoint, of step 4"));
}

TEST_CASE("figures of dev that do not compare are not mixed", "[trainers][resume]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.evaluation.every = 4;
  runs.train(config, false, 6);
  config.evaluation.max_tokens = 20;
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, true); }),
               ContainsSubstring("chose its best checkpoint with [evaluation.unroll"));
}
