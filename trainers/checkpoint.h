// Checkpoints: what a training run needs to go on, kept so that a kill or a full disk at any moment
// leaves a whole one behind.
//
//   <run>/checkpoints/step_00001000/model.safetensors     parameters, buffers, metadata
//                                   training.safetensors  optimizer, state, memory; may be absent
//                                   state.json            step, counters, size and hash of the
//                                   above
//                     last -> step_00001000
//                     best -> step_00000800
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors.h"

namespace rondo {

// Its tensors may be on a GPU; they are saved as they are, and loaded to any device.
struct Checkpoint {
  std::vector<NamedTensor> model;
  std::map<std::string, std::string> model_metadata;
  std::vector<NamedTensor> training;  // empty: no training.safetensors
  std::string state_json = "{}";      // any JSON; its meaning is the trainer's
};

// The checkpoints folder of one run, for the one process that saves there.
class CheckpointFolder {
 public:
  // Creates nothing yet. Throws Error if `last` or `best` stands there but is not a link (a copy
  // that followed links made it): saving could not replace it.
  explicit CheckpointFolder(std::filesystem::path folder);

  // Saves a checkpoint and makes it `last`, and `best` when asked. It is written beside, synced and
  // renamed, so that at any moment `last` and `best` are whole. Then removes the checkpoints that
  // are neither, and what a killed run left half-written. Throws Error when anything fails; what
  // was there before stays.
  //
  // A step that is saved again while the folder of its name is `last` or `best` gets a second
  // folder, step_00001000.2, for the first may not be touched before the new one is linked.
  void save(std::int64_t step, const Checkpoint& checkpoint, bool is_best);

  // The folder that the link leads to, if there is one. Without the link `last` (copies may lose
  // links), the checkpoint of the highest step.
  std::optional<std::filesystem::path> last() const;
  std::optional<std::filesystem::path> best() const;
  // Makes the checkpoint of `step` the best again, in a copy that has lost its links. False if it
  // is not there.
  bool restore_best(std::int64_t step) const;

 private:
  void remove_unused() const;

  std::filesystem::path folder_;
};

enum class CheckpointChoice { best, last };

struct LoadedCheckpoint {
  std::filesystem::path path;  // the step folder, or the bare file
  SafetensorsFile model;
  std::optional<SafetensorsFile> training;
  std::optional<std::int64_t> step;       // nothing for a bare file
  std::optional<std::string> state_json;  // nothing for a bare file
};

// Loads from a checkpoint (.../step_00001000, .../last), from a run or its checkpoints folder
// (`choice`, or the other if there is only that), or from a safetensors file alone. Sizes and
// SHA-256 hashes of a checkpoint are verified first. Throws Error naming the file, what was
// expected and found, and the other checkpoint of the run to fall back on.
LoadedCheckpoint load_checkpoint(const std::filesystem::path& path,
                                 CheckpointChoice choice = CheckpointChoice::best);

// Throws Error unless `file` has the tensors that `targets` are, with the same names, shapes and
// dtypes, and no others; it lists up to five differences. `what` says in the message what was to be
// loaded: "model".
void require_tensors(std::span<const NamedTensor> targets, const SafetensorsFile& file,
                     std::string_view what);

// Copies the tensors of `file` into those of the same name, on any device. Throws the Error of
// require_tensors before anything is copied.
void assign_tensors(std::span<const NamedTensor> targets, const SafetensorsFile& file,
                    std::string_view what);

}  // namespace rondo
