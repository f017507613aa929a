// Language models: ids in, scores of the next id out, with a state that runs along the text.
#pragma once

#include <memory>
#include <vector>

#include "core/safetensors.h"
#include "models/config.h"
#include "models/module.h"

namespace rondo {

// What a text's past has left behind, cut from the graph. A new state stands at the start of a
// text.
struct LanguageModelState {
  std::vector<Tensor> c;       // per layer, (B, D); empty at the start, and with Transformers
  std::vector<Tensor> h;       // LSTM: per layer, (B, D); empty with other models
  std::vector<Tensor> memory;  // per layer, (M, B, d); undefined where nothing attends

  bool at_start() const { return c.empty() && h.empty() && memory.empty(); }
  // The tensors under names, for checkpoints; and back. Throws Error when a name is not known.
  std::vector<NamedTensor> named() const;
  static LanguageModelState from_named(const std::vector<NamedTensor>& tensors);
};

struct LanguageModelContext {
  ForwardContext forward;
  // How many positions the attending layers remember after this call (M).
  std::int64_t memory_length = 0;
  // Evaluation's mask: every position sees at most this many before its own. 0, for training: all
  // of memory and segment up to its own. Positions are then best read evaluation_segment(window) at
  // a time.
  std::int64_t window = 0;
};

// A batch of texts that go on one id at a time, each on its own: no text's scores depend on the
// other texts, bit for bit. A step takes the same time wherever in the text it stands: recurrent
// layers move their state on, attending ones keep the keys and values of the last positions. (A
// plain Transformer starts again from half of them when its window is full: models/transformer.h.)
// It runs where the model's weights are, but ids come from the CPU and scores come back to it,
// where the next ids are chosen: with a GPU, one copy a step, and the only wait. The model must
// outlive it, and its weights must not change meanwhile.
class LanguageModelStream {
 public:
  virtual ~LanguageModelStream() = default;
  // Reads ids (T, B) i32, T > 0, in parallel; (T, 1): the same for every text. Only at the start.
  // Returns the scores (B, V) of the ids after them, on the CPU.
  virtual const Tensor& prefill(const Tensor& ids) = 0;
  // Reads one id of each text, (B) i32. Returns the scores (B, V) of the ids after them, on the
  // CPU, which the next call overwrites. Allocates nothing.
  virtual const Tensor& step(const Tensor& ids) = 0;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  // The mean over positions of the negative log likelihood of `targets` (T, B), the ids after
  // `ids` (T, B), in nats. Shape {1}. Moves `state` on past `ids`. Both are kept, not copied, until
  // backward() has been there.
  virtual Variable loss(const Tensor& ids, const Tensor& targets, LanguageModelState& state,
                        const LanguageModelContext& context) const = 0;
  // The sum over positions, without a gradient, f64 {1} on the model's device: for evaluation.
  virtual Tensor loss_sum(const Tensor& ids, const Tensor& targets, LanguageModelState& state,
                          const LanguageModelContext& context) const = 0;
  // How many positions evaluation with `window` reads at a time.
  virtual std::int64_t evaluation_segment(std::int64_t window) const { return window; }
  // Whether ids and targets are looked at on the CPU, whatever the device: best left there.
  virtual bool reads_ids_on_cpu() const { return false; }
  // Scores (T, B, V) of the id after each of `ids`, (T, B) i32: log-probabilities, up to a constant
  // in each row. Moves `state` on past them.
  virtual Variable logits(const Tensor& ids, LanguageModelState& state,
                          const LanguageModelContext& context) const = 0;
  // `streams` texts at their start, in which every position sees `window` (1 or more) before its
  // own. Steps give what `logits` gives for the same ids, but for rounding, and but for models
  // whose results depend on where a text is cut into segments: SRU++ with layer_norm pre, whose
  // memory is not normalised, and the plain Transformer, which begins anew. Throws Error unless the
  // weights are f32, on the CPU or a GPU.
  virtual std::unique_ptr<LanguageModelStream> start_stream(std::int64_t streams,
                                                            std::int64_t window) const = 0;
  // In a fixed order, with stable names: what optimizers and checkpoints see.
  virtual Parameters parameters() const = 0;
  virtual std::int64_t vocabulary_size() const = 0;
};

// Builds the model that `config` describes; see models/registry.cpp for the types there are.
// Throws Error when the settings contradict each other.
std::unique_ptr<LanguageModel> build_language_model(const ModelConfig& config,
                                                    std::int64_t vocabulary_size,
                                                    Initializer& init);

}  // namespace rondo
