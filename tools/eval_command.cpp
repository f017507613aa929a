#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numbers>

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
  std::vector<std::int64_t> windows;
  std::int64_t batch_size = 1;
  std::int64_t max_tokens = 0;
  bool last = false;
  std::string device = "cpu";
  int threads = 0;
};

EvaluationResult evaluate_split(const LoadedModel& loaded, const Corpus& corpus, Split split,
                                const EvaluationOptions& options) {
  try {
    return evaluate(*loaded.model, corpus.split(split, loaded.description.vocabulary), options);
  } catch (const OutOfMemory& problem) {
    fail("{}; lower --batch-size or --window", problem.what());
  }
}

// A row for every window, as soon as it is measured: what a wider one costs, and what it brings.
void compare_windows(const LoadedModel& loaded, const Corpus& corpus, Split split,
                     EvaluationOptions options, const std::vector<std::int64_t>& windows) {
  const Unit unit = loaded.description.vocabulary.unit();
  const Metric metric = metric_of(unit);
  for (const std::int64_t window : windows) {
    options.window = window;
    const auto started = std::chrono::steady_clock::now();
    const EvaluationResult result = evaluate_split(loaded, corpus, split, options);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - started;
    if (window == windows.front()) {
      fmt::print("{} of {}: {} {}, batch {}\n{:>8}{:>14}{:>12}{:>10}\n", name(split), corpus.name(),
                 result.tokens, name(unit), options.batch_size, "window", "result", "tokens/s",
                 "time");
    }
    fmt::print("{:>8}{:>14}{:>12}{:>10}\n", window, format_result(metric, result.nats_per_token, 1),
               format_count(static_cast<double>(result.tokens) / time.count()),
               format_duration(time.count()));
    std::fflush(stdout);
  }
}

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
  std::vector<std::int64_t> windows = options.windows;
  windows.resize(std::max<std::size_t>(windows.size(), 1));
  std::replace(windows.begin(), windows.end(), std::int64_t{0}, description.window);
  EvaluationOptions evaluation;
  evaluation.window = windows.front();
  evaluation.batch_size = options.batch_size;
  evaluation.max_tokens = options.max_tokens;
  if (windows.size() > 1) {
    compare_windows(loaded, corpus, split, evaluation, windows);
  } else {
    const EvaluationResult result = evaluate_split(loaded, corpus, split, evaluation);
    const Unit unit = description.vocabulary.unit();
    fmt::print("{} of {}: {} ({:.4f} nats) over {} {}, window {}, batch {}\n", name(split),
               corpus.name(), format_result(metric_of(unit), result.nats_per_token, 1),
               result.nats_per_token, result.tokens, name(unit), evaluation.window,
               evaluation.batch_size);
    const auto text_bytes = static_cast<double>(corpus.text_bytes(split));
    if (text_bytes > 0.0 && evaluation.max_tokens == 0) {
      // Comparable where perplexities are not, for they depend on how long the pieces are.
      fmt::print("  {:.4f} bits per byte of its text\n",
                 result.nats_per_token / std::numbers::ln2 *
                     static_cast<double>(corpus.split(split).size()) / text_bytes);
    }
  }
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
      ->add_option("--window", options->windows,
                   "Attention window, or several to compare: 64,128,256; 0: the one the model was "
                   "evaluated with in training")
      ->type_name("N[,N...]")
      ->delimiter(',')
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
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
  rondo eval runs/quickstart --window 64,128,256,512
  rondo eval runs/quickstart --device cuda
  rondo eval model.safetensors --data data/enwik8)");
  command->callback([options] { eval(*options); });
}

}  // namespace rondo
