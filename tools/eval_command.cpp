
#include "core/parallel.h"
#include "data/corpus.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "trainers/evaluation.h"
#include "trainers/metric.h"
#include "trainers/model_file.h"

namespace rondo {
namespace {

struct EvalOptions {
  std::string path;
  std::string split = "test";
  std::string data;
  std::int64_t window = 0;
  std::int64_t batch_size = 1;
  std::int64_t max_tokens = 0;
  bool last = false;
  std::string device = "cpu";
  int threads = 0;
};

void eval(const EvalOptions& options) {
  set_num_threads(options.threads);
  const Device device = Device::parse(options.device);
  require_available(device);
  const LoadedModel loaded = load_model(
      load_checkpoint(options.path, options.last ? CheckpointChoice::last : CheckpointChoice::best),
      device);
  const ModelDescription& description = loaded.description;
  const Corpus corpus = Corpus::open(options.data.empty() ? description.corpus : options.data);
  const Split split = options.split == "train" ? Split::train
                      : options.split == "dev" ? Split::dev
                                               : Split::test;
  EvaluationOptions evaluation;
  evaluation.window = options.window > 0 ? options.window : description.window;
  evaluation.batch_size = options.batch_size;
  evaluation.max_tokens = options.max_tokens;
  EvaluationResult result;
  try {
    result = evaluate(*loaded.model, corpus.split(split, description.vocabulary), evaluation);
  } catch (const OutOfMemory& problem) {
    fail("{}; lower --batch-size or --window", problem.what());
  }
  const Unit unit = description.vocabulary.unit();
  fmt::print("{} of {}: {} ({:.4f} nats) over {} {}, window {}, batch {}\n", name(split),
             corpus.name(), format_result(metric_of(unit), result.nats_per_token, 1),
             result.nats_per_token, result.tokens, name(unit), evaluation.window,
             evaluation.batch_size);
  if (!corpus.complete()) {
    fmt::print(
        "note: {} is only a part of the published corpus; do not compare with "
        "published figures\n",
        corpus.name());
  }
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Measure how well a trained model predicts text");
  command
      ->add_option("path", options->path,
                   "A run folder (its best checkpoint), a checkpoint, or model.safetensors")
      ->required();
  command->add_option("--split", options->split, "train, dev or test")
      ->check(CLI::IsMember({"train", "dev", "test"}))
      ->capture_default_str();
  command->add_option("--data", options->data, "Another corpus than the model was trained on");
  command
      ->add_option("--window", options->window,
                   "Attention window; 0: the one the model was evaluated with in training")
      ->check(whole_number(0));
  command->add_option("--batch-size", options->batch_size, "Streams; the protocol is 1")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_option("--max-tokens", options->max_tokens, "Only the first so many; 0: all")
      ->check(whole_number(0));
  command->add_flag("--last", options->last, "Of a run, the last checkpoint instead of the best");
  add_device_option(*command, options->device);
  add_threads_option(*command, options->threads);
  command->footer(R"(Examples:
  rondo eval runs/quickstart
  rondo eval runs/quickstart --split dev --window 512
  rondo eval runs/quickstart --device cuda
  rondo eval model.safetensors --data data/enwik8)");
  command->callback([options] { eval(*options); });
}

}  // namespace rondo
