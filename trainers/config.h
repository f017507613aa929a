// Everything a training run can be told, as plain structs: one field, its default and its meaning
// on one line. trainers/config_yaml.h reads them from YAML and writes them back.
#pragma once

#include <cstdint>
#include <string>

#include "core/precision.h"
#include "models/config.h"

namespace rondo {

struct RunConfig {
  std::string folder;         // where the run is kept; empty: runs/<name of the config file>
  std::uint64_t seed = 1234;  // initial weights and dropout
  std::string device = "cpu";
  std::int64_t threads = 0;  // 0: one per core

  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

struct DataConfig {
  // "builtin" (the text compiled into Rondo) or a folder made by `rondo prepare`.
  std::string corpus = "builtin";

  friend bool operator==(const DataConfig&, const DataConfig&) = default;
};

struct TrainingConfig {
  std::int64_t steps = 400000;           // optimizer steps
  std::int64_t batch_size = 8;           // streams, B
  std::int64_t unroll = 256;             // positions of one segment, T
  std::int64_t accumulation_steps = 1;   // segments whose gradients are averaged in one step
  double clip_grad_norm = 1.0;           // of all gradients together; 0: no clipping
  Precision precision = Precision::f32;  // of matrix products; on a GPU, also of activations
  double loss_scale = 65536;             // the first; with f16 only

  friend bool operator==(const TrainingConfig&, const TrainingConfig&) = default;
};

enum class OptimizerType : std::uint8_t { radam, adam, adamw, sgd };

struct OptimizerConfig {
  OptimizerType type = OptimizerType::radam;
  double lr = 3e-4;  // the highest learning rate
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay =
      0.1;                // decoupled, except for adam and sgd, where it is added to the gradient
  double momentum = 0.0;  // sgd

  friend bool operator==(const OptimizerConfig&, const OptimizerConfig&) = default;
};

enum class ScheduleType : std::uint8_t { cosine, constant };

struct ScheduleConfig {
  ScheduleType type = ScheduleType::cosine;
  std::int64_t warmup_steps = 0;
  bool warmup_from_zero = false;  // the first step's rate is 0, not lr / warmup_steps
  std::int64_t total_steps = 0;   // N of the cosine; 0: training.steps

  friend bool operator==(const ScheduleConfig&, const ScheduleConfig&) = default;
};

struct EvaluationConfig {
  std::int64_t every = 1000;    // steps between evaluations on dev; 0: only at the end
  std::int64_t unroll = 0;      // window M; 0: training.unroll
  std::int64_t batch_size = 1;  // streams that dev is cut into; the protocol is 1
  std::int64_t max_tokens = 0;  // of dev, for the evaluations on the way; 0: all
  bool test_at_end = true;      // evaluate the best checkpoint on the whole of dev and test

  friend bool operator==(const EvaluationConfig&, const EvaluationConfig&) = default;
};

struct CheckpointConfig {
  std::int64_t every = 1000;  // steps between saves of the last state; 0: only at the end

  friend bool operator==(const CheckpointConfig&, const CheckpointConfig&) = default;
};

struct LoggingConfig {
  std::int64_t every = 10;  // steps between metrics
  bool tensorboard = true;

  friend bool operator==(const LoggingConfig&, const LoggingConfig&) = default;
};

struct SampleConfig {
  std::int64_t length = 300;  // bytes of text shown at the end; 0: none
  double temperature = 0.8;
  std::string prompt = "\n";

  friend bool operator==(const SampleConfig&, const SampleConfig&) = default;
};

// What was published for this experiment, for `rondo report` to put beside the run's own figures.
// Nothing here changes a run.
struct PublishedConfig {
  std::string name;             // the row of the table: "Enwik8 42M, 1 attention layer"
  double test = 0.0;            // BPC for bytes, perplexity for words; 0: none was published
  double dev = 0.0;             // the same on dev
  std::string cost;             // as published: "22 GPU hours"
  std::int64_t parameters = 0;  // as published: 42000000; 0: not published
  std::int64_t vocabulary = 0;  // ids of the corpus that it is about; 0: 205, Enwik8's

  friend bool operator==(const PublishedConfig&, const PublishedConfig&) = default;
};

struct Config {
  RunConfig run;
  DataConfig data;
  ModelConfig model;
  TrainingConfig training;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  EvaluationConfig evaluation;
  CheckpointConfig checkpoint;
  LoggingConfig logging;
  SampleConfig sample;
  PublishedConfig published;

  friend bool operator==(const Config&, const Config&) = default;
};

// Ids of the vocabulary that the configuration is about, for what needs a model but no corpus.
inline std::int64_t published_vocabulary(const Config& config) {
  constexpr std::int64_t kEnwik8 = 205;
  return config.published.vocabulary > 0 ? config.published.vocabulary : kEnwik8;
}

// M of the evaluation's mask.
inline std::int64_t evaluation_window(const Config& config) {
  return config.evaluation.unroll > 0 ? config.evaluation.unroll : config.training.unroll;
}

}  // namespace rondo
