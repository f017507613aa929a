#include "trainers/lm_trainer.h"

#include <chrono>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/parallel.h"
#include "trainers/config_validation.h"
#include "trainers/config_yaml.h"
#include "trainers/metrics_log.h"
#include "trainers/run_lock.h"
#include "trainers/run_recorder.h"
#include "trainers/schedule.h"

namespace rondo {
namespace {

constexpr int kStateVersion = 1;

// Threads are set before anything runs on them.
const Config& checked(const Config& config) {
  validate(config);
  require_device(config);
  check(!config.run.folder.empty(), "run.folder: expected a folder to keep the run in, found none");
  require_idle(config.run.folder);  // before memory is taken for nothing
  set_num_threads(static_cast<int>(config.run.threads));
  flush_denormals();
  return config;
}

EvaluationOptions evaluation_options(const Config& config) {
  EvaluationOptions options;
  options.window = evaluation_window(config);
  options.batch_size = config.evaluation.batch_size;
  options.max_tokens = config.evaluation.max_tokens;
  return options;
}

// How dev is measured: figures compare only where this is the same.
nlohmann::json measure_of(const Config& config) {
  const EvaluationOptions options = evaluation_options(config);
  return {options.window, options.batch_size, options.max_tokens};
}

// What needs less memory, after "; ".
std::string memory_advice(const Config& config) {
  const Precision precision = config.training.precision;
  const bool wide = precision == Precision::f32 || precision == Precision::tf32;
  return fmt::format("lower training.batch_size or training.unroll{}",
                     wide && Device::parse(config.run.device).is_cuda()
                         ? ", or set training.precision: bf16"
                         : "");
}

// Gives every tensor its name behind `prefix`.
void append_named(std::vector<NamedTensor>& into, std::string_view prefix,
                  const std::vector<NamedTensor>& from) {
  for (const NamedTensor& named : from) {
    into.push_back({fmt::format("{}{}", prefix, named.name), named.tensor});
  }
}

void require_enough_dev(const Config& config, const Corpus& corpus) {
  try {
    require_enough(corpus.split(Split::dev), evaluation_options(config));
  } catch (const Error& problem) {
    fail("{} of the corpus {}, cut by evaluation.batch_size and evaluation.max_tokens: {}",
         name(Split::dev), config.data.corpus, problem.what());
  }
}

constexpr std::string_view kOptimizerPrefix = "optimizer.";
constexpr std::string_view kStatePrefix = "state.";

}  // namespace

LmTrainer::LmTrainer(const Config& config, bool resume) try
    : config_(checked(config)),
      folder_(config.run.folder),
      corpus_(Corpus::open(config.data.corpus)),
      stepper_(config_, corpus_),
      checkpoints_(folder_ / "checkpoints") {
  // Found out now, not at the first evaluation or save, when steps would be lost.
  require_enough_dev(config_, corpus_);
  make_folder(folder_ / "checkpoints");
  lock_ = lock_run(folder_);
  const auto last = checkpoints_.last();
  check(resume || !last,
        "{} already holds a run (saved at {}); continue it with --resume, or choose another folder "
        "with --set run.folder=...",
        folder_.string(), last ? last->filename().string() : "");
  if (last) {
    resume_from(load_checkpoint(*last, CheckpointChoice::last));
  }
  write_file_atomically(folder_ / "config.yaml", dump_config(config_));
} catch (const OutOfMemory& problem) {
  fail("{}; not even the model and its optimizer fit: lower model.hidden_size or model.num_layers",
       problem.what());
}

LmTrainer::~LmTrainer() = default;

void LmTrainer::resume_from(const LoadedCheckpoint& checkpoint) {
  const std::string where = checkpoint.path.string();
  const ModelDescription saved =
      from_metadata(checkpoint.model.metadata(), checkpoint.model.path());
  check(saved.config == config_.model,
        "{} holds another model than the config describes: saved {}, wanted {}; resume with the "
        "settings of {}",
        where, model_config_to_json(saved.config), model_config_to_json(config_.model),
        (folder_ / "config.yaml").string());
  check(
      saved.vocabulary == corpus_.vocabulary(),
      "{} was trained with a vocabulary of {} {}, {} has another, of {} {}; resume with the corpus "
      "it was trained on ({})",
      where, saved.vocabulary.size(), name(saved.vocabulary.unit()), config_.data.corpus,
      corpus_.vocabulary().size(), name(corpus_.vocabulary().unit()), saved.corpus);
  check(checkpoint.training.has_value() && checkpoint.state_json.has_value(),
        "{} holds a model but no training state; it can be evaluated, not resumed", where);
  assign_tensors(tensors_of(stepper_.parameters()), checkpoint.model, "model");

  std::vector<NamedTensor> carried;
  for (const std::string& name : checkpoint.training->names()) {
    if (name.starts_with(kStatePrefix)) {
      carried.push_back(
          {name.substr(kStatePrefix.size()), checkpoint.training->tensor(name).clone()});
    }
  }
  std::vector<NamedTensor> targets;
  append_named(targets, kOptimizerPrefix, stepper_.optimizer().state());
  append_named(targets, kStatePrefix, carried);  // copied onto themselves: names are checked
  assign_tensors(targets, *checkpoint.training, "training state");

  try {
    const nlohmann::json state = nlohmann::json::parse(*checkpoint.state_json);
    check(state.at("version") == kStateVersion, "{}: training state of version {}; expected {}",
          where, state.at("version").dump(), kStateVersion);
    // Where the run stands in its data means nothing in other data, or in data cut otherwise.
    const std::int64_t train_tokens = corpus_.split(Split::train).size();
    check(
        state.at("train_bytes") == train_tokens,
        "{} was trained on a corpus with {} tokens in train, {} has {}; resume with the corpus it "
        "was trained on ({})",
        where, state.at("train_bytes").dump(), config_.data.corpus, train_tokens, saved.corpus);
    const std::string saved_sha256 = state.value("train_sha256", "");
    check(
        saved_sha256.empty() || saved_sha256 == corpus_.train_sha256(),
        "{} was trained on another text than that of {}, though as long; resume with the corpus it "
        "was trained on ({})",
        where, config_.data.corpus, saved.corpus);
    check(state.at("batch_size") == config_.training.batch_size &&
              state.at("unroll") == config_.training.unroll,
          "{} was trained with training.batch_size {} and training.unroll {}, the config says {} "
          "and {}; a run keeps these settings: resume with them",
          where, state.at("batch_size").dump(), state.at("unroll").dump(),
          config_.training.batch_size, config_.training.unroll);
    progress_.step = state.at("step");
    progress_.tokens = state.at("tokens");
    progress_.seconds = state.at("seconds");
    if (!state.at("best_step").is_null()) {
      progress_.best_step = state.at("best_step").get<std::int64_t>();
      progress_.best_nats = state.at("best_nats");
      // A figure of another part of dev, or with another window, says nothing about the next ones.
      const nlohmann::json measure = measure_of(config_);
      const nlohmann::json saved_measure = state.value("evaluation", measure);
      check(saved_measure == measure,
            "{} chose its best checkpoint with [evaluation.unroll, batch_size, max_tokens] {}, the "
            "config says {}; resume with the same, and use `rondo eval` for others",
            where, saved_measure.dump(), measure.dump());
      check(
          checkpoints_.best() || checkpoints_.restore_best(*progress_.best_step),
          "{} has lost its best checkpoint, of step {}; copy the run again with its links (cp -a, "
          "rsync -a), or take the last for the best: ln -s {} {}",
          folder_.string(), *progress_.best_step, checkpoint.path.filename().string(),
          (folder_ / "checkpoints" / "best").string());
    }
    stepper_.restore(LanguageModelState::from_named(carried),
                     Generator(state.at("seed"), state.at("next_stream")),
                     {state.at("epoch"), state.at("segment")});
    StepState steps = stepper_.optimizer().progress();
    steps.steps = state.at("optimizer_steps");
    if (config_.training.precision == Precision::f16 && state.contains("loss_scale")) {
      steps.loss_scale = state.at("loss_scale");
      steps.good_steps = state.at("loss_scale_good_steps");
      steps.skipped = state.at("skipped_steps");
    }
    stepper_.optimizer().set_progress(steps);
  } catch (const nlohmann::json::exception& problem) {
    fail("{}: the training state is damaged ({}); resume from another checkpoint", where,
         problem.what());
  }
}

std::string LmTrainer::saved_so_far() const {
  const auto last = checkpoints_.last();
  return last ? fmt::format("the last good checkpoint is {}", last->string())
              : std::string("nothing was saved yet");
}

void LmTrainer::stop_astray(std::int64_t step, const std::string& what) const {
  try {
    // For whoever reads the run's folder; a resumed run removes it with the steps after its own.
    MetricsLog(folder_ / "metrics.jsonl", step).write({"diverged", step, {{"what", what}}});
  } catch (const Error&) {
    // What went astray matters more than that it could not be recorded.
  }
  fail(
      "training stopped at step {}: {}; {}. Try a lower optimizer.lr, a longer "
      "schedule.warmup_steps or training.clip_grad_norm below {}",
      step, what, saved_so_far(),
      config_.training.clip_grad_norm > 0 ? config_.training.clip_grad_norm : 1.0);
}

void LmTrainer::take_step() {
  last_gradient_ = stepper_.compute_gradient();
  last_lr_ =
      learning_rate(config_.schedule, config_.optimizer.lr, config_.training.steps, progress_.step);
  stepper_.apply(last_lr_, last_gradient_);
  progress_.tokens += last_gradient_.tokens;
  ++progress_.step;
}

bool LmTrainer::due(std::int64_t every) const {
  return progress_.step == config_.training.steps || (every > 0 && progress_.step % every == 0);
}

bool LmTrainer::read_due() const {
  return last_gradient_.loss.device().is_cpu() || progress_.step == 1 ||
         due(config_.logging.every) || due(config_.evaluation.every) ||
         due(config_.checkpoint.every);
}

StepReport LmTrainer::read_step() {
  const StepState steps = stepper_.optimizer().progress();
  if (steps.failed_check != 0) {
    const std::string what = fmt::format("the loss is {} and the gradient norm {}",
                                         steps.failed_loss, steps.failed_norm);
    stop_astray(first_step_ + steps.failed_check,
                steps.loss_scale < 1.0 ? what + ", even with a loss scale of 1" : what);
  }
  StepReport report;
  report.step = progress_.step;
  report.epoch = stepper_.epochs();
  report.nats_per_token = last_gradient_.loss.item();
  report.lr = last_lr_;
  report.grad_norm = std::abs(last_gradient_.norm.item());  // NaN may have a sign
  report.tokens = progress_.tokens;
  report.loss_scale = steps.loss_scale;
  report.skipped_steps = steps.skipped;
  return report;
}

EvaluationReport LmTrainer::evaluate_dev() {
  EvaluationReport report;
  report.step = progress_.step;
  report.result =
      evaluate(stepper_.model(), corpus_.split(Split::dev), evaluation_options(config_));
  report.train_tokens = progress_.tokens;
  report.seconds = progress_.seconds;
  if (!std::isfinite(report.result.nats_per_token)) {
    stop_astray(progress_.step, fmt::format("the loss on dev is {}", report.result.nats_per_token));
  }
  report.best = !progress_.best_step || report.result.nats_per_token < progress_.best_nats;
  if (report.best) {
    progress_.best_step = progress_.step;
    progress_.best_nats = report.result.nats_per_token;
  }
  return report;
}

void LmTrainer::save(bool best, TrainingObserver& observer) {
  // A step can overflow the weights before any loss shows it; the checkpoint before is worth more.
  if (!all_finite(stepper_.parameters())) {
    stop_astray(progress_.step, "the weights are no longer finite");
  }
  Checkpoint checkpoint;
  checkpoint.model = tensors_of(stepper_.parameters());
  checkpoint.model_metadata =
      to_metadata({config_.model, corpus_.vocabulary(), evaluation_options(config_).window,
                   config_.data.corpus});
  append_named(checkpoint.training, kOptimizerPrefix, stepper_.optimizer().state());
  append_named(checkpoint.training, kStatePrefix, stepper_.state().named());
  const StepState steps = stepper_.optimizer().progress();
  nlohmann::json state = {
      {"version", kStateVersion},
      {"step", progress_.step},
      {"epoch", stepper_.position().epoch},
      {"segment", stepper_.position().segment},
      {"train_bytes", corpus_.split(Split::train).size()},  // tokens
      {"train_sha256", corpus_.train_sha256()},
      {"batch_size", config_.training.batch_size},
      {"unroll", config_.training.unroll},
      {"evaluation", measure_of(config_)},
      {"tokens", progress_.tokens},
      {"seconds", progress_.seconds},
      {"best_step", progress_.best_step ? nlohmann::json(*progress_.best_step) : nlohmann::json()},
      {"best_nats", progress_.best_nats},
      {"seed", stepper_.generator().seed()},
      {"next_stream", stepper_.generator().next_stream()},
      {"optimizer_steps", steps.steps}};
  if (config_.training.precision == Precision::f16) {
    state["loss_scale"] = steps.loss_scale;
    state["loss_scale_good_steps"] = steps.good_steps;
    state["skipped_steps"] = steps.skipped;
  }
  checkpoint.state_json = state.dump();
  checkpoints_.save(progress_.step, checkpoint, best);
  observer.on_saved(progress_.step, folder_ / "checkpoints");
}

bool LmTrainer::evaluate_best(TrainingSummary& summary, TrainingObserver& observer,
                              const std::function<bool()>& stop_requested) {
  struct Stopped {};
  const LoadedModel best = load_model(load_checkpoint(folder_, CheckpointChoice::best),
                                      Device::parse(config_.run.device));
  EvaluationOptions options;
  options.window = evaluation_options(config_).window;
  options.progress = [&](std::int64_t /*done*/, std::int64_t /*total*/) {
    if (stop_requested()) {
      throw Stopped();
    }
  };
  const auto run = [&](Split split) {
    const EvaluationResult result = evaluate(*best.model, corpus_.split(split), options);
    EvaluationReport report;
    report.split = split;
    report.step = progress_.best_step.value_or(progress_.step);
    report.result = result;
    observer.on_evaluation(report);
    return result;
  };
  try {
    summary.dev = run(Split::dev);
    summary.test = run(Split::test);
  } catch (const Stopped&) {
    return false;
  }
  return true;
}

TrainingSummary LmTrainer::run(TrainingObserver& observer,
                               const std::function<bool()>& stop_requested) {
  try {
    return train(observer, stop_requested);
  } catch (const OutOfMemory& problem) {
    fail("training stopped after step {}: {}; {}; {}{}", progress_.step, problem.what(),
         memory_advice(config_), saved_so_far(),
         checkpoints_.last() ? ": go on from it with --resume" : "");
  }
}

TrainingSummary LmTrainer::train(TrainingObserver& observer,
                                 const std::function<bool()>& stop_requested) {
  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  const double seconds_before = progress_.seconds;
  const auto seconds_since = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  RunRecorder recorder(config_, metric(), folder_, progress_.step);
  const std::int64_t total = config_.training.steps;
  first_step_ = progress_.step;
  bool saved = true;  // the present state is on disk, or is the beginning
  bool stopped = false;
  double rate = 0.0;
  // Steps that were not read yet count into the next rate.
  auto reading_started = started;
  Progress at_reading = progress_;
  observer.on_start(progress_.step);

  while (progress_.step < total) {
    if (stop_requested()) {
      stopped = true;
      break;
    }
    take_step();
    saved = false;
    if (!read_due()) {
      continue;
    }
    StepReport report = read_step();
    // A moving average over about twenty steps: steady to read, and still of the present.
    const double now = static_cast<double>(progress_.tokens - at_reading.tokens) /
                       std::max(seconds_since(reading_started), 1e-9);
    const double kept = std::pow(0.95, static_cast<double>(progress_.step - at_reading.step));
    report.tokens_per_second = rate == 0.0 ? now : kept * rate + (1.0 - kept) * now;
    // The first step makes kernels and takes memory: it is shown, and then forgotten.
    rate = at_reading.step == first_step_ ? 0.0 : report.tokens_per_second;
    const double elapsed = seconds_since(started);
    report.seconds_left = elapsed / static_cast<double>(progress_.step - first_step_) *
                          static_cast<double>(total - progress_.step);
    progress_.seconds = seconds_before + elapsed;
    recorder.step(report, progress_.seconds);
    observer.on_step(report);

    bool best = false;
    const bool evaluated = due(config_.evaluation.every);
    if (evaluated) {
      const EvaluationReport evaluation = evaluate_dev();
      best = evaluation.best;
      recorder.evaluation(evaluation);
      observer.on_evaluation(evaluation);
    }
    if (best || due(config_.checkpoint.every)) {
      progress_.seconds = seconds_before + seconds_since(started);
      save(best, observer);
      saved = true;
    }
    if (evaluated) {
      recorder.draw();  // after saving: a picture that cannot be written must not cost a checkpoint
    }
    at_reading = progress_;
    reading_started = Clock::now();
  }
  if (!saved) {
    read_step();  // what went astray is not saved
    progress_.seconds = seconds_before + seconds_since(started);
    save(false, observer);
  }

  TrainingSummary summary;
  summary.steps = progress_.step;
  summary.tokens = progress_.tokens;
  summary.parameters = count(stepper_.parameters());
  summary.stopped = stopped;
  summary.best_step = progress_.best_step;
  if (progress_.best_step) {
    summary.best_dev_nats = progress_.best_nats;
  }
  if (!stopped && config_.evaluation.test_at_end && checkpoints_.best()) {
    if (evaluate_best(summary, observer, stop_requested)) {
      recorder.final(summary);
    } else {
      summary.stopped = true;  // resumed, it evaluates
    }
  }
  summary.seconds = seconds_before + seconds_since(started);
  recorder.draw();
  return summary;
}

}  // namespace rondo
