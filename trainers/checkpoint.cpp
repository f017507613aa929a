#include "trainers/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "core/safetensors_header.h"

namespace rondo {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr std::string_view kModelFile = "model.safetensors";
constexpr std::string_view kTrainingFile = "training.safetensors";
constexpr std::string_view kStateFile = "state.json";
constexpr std::string_view kNoHash =
    "0000000000000000000000000000000000000000000000000000000000000000";
constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kStepPrefix = "step_";
constexpr std::string_view kLast = "last";
constexpr std::string_view kBest = "best";

// The name of a step folder: step_<8 digits or more>, then .<copy> for all but the first copy.
struct StepName {
  std::int64_t step = 0;
  std::int64_t copy = 1;

  std::string str() const {
    return copy == 1 ? fmt::format("{}{:08}", kStepPrefix, step)
                     : fmt::format("{}{:08}.{}", kStepPrefix, step, copy);
  }
  // Nothing unless `text` is exactly what str() gives.
  static std::optional<StepName> parse(std::string_view text) {
    StepName name;
    if (!text.starts_with(kStepPrefix)) {
      return std::nullopt;
    }
    const char* const end = text.data() + text.size();
    auto read = std::from_chars(text.data() + kStepPrefix.size(), end, name.step);
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '.') {
      read = std::from_chars(read.ptr + 1, end, name.copy);
    }
    return read.ec == std::errc() && name.str() == text ? std::optional(name) : std::nullopt;
  }
  friend auto operator<=>(const StepName&, const StepName&) = default;
};

// The hash of the text of state.json, which holds `own`, the hash itself, in place of zeros.
std::string hash_of_state(std::string text, std::string_view own) {
  const std::size_t at = text.find(own);
  return at == std::string::npos
             ? sha256({})
             : sha256(std::as_bytes(std::span(text.replace(at, own.size(), kNoHash))));
}

// Parses JSON of bounded depth: writing a value out again recurses.
nlohmann::json parse_json(std::string_view text, std::string_view name) {
  constexpr int kDeepest = 100;
  try {
    return nlohmann::json::parse(
        text.begin(), text.end(), [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
          check(depth <= kDeepest, "{} is nested deeper than {} levels", name, kDeepest);
          return true;
        });
  } catch (const nlohmann::json::exception&) {
    fail("{} is not valid JSON", name);
  }
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code code;
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    entries.push_back(entry->path());
  }
  check(!code, "cannot list folder {}: {}", folder.string(), code.message());
  return entries;
}

// What save() writes beside the checkpoints before it renames it.
bool is_leftover(std::string_view name) {
  if (!name.starts_with(kTemporaryPrefix)) {
    return false;
  }
  name.remove_prefix(kTemporaryPrefix.size());
  return name == kLast || name == kBest || StepName::parse(name);
}

bool is_folder(const fs::path& path) {
  std::error_code code;
  return fs::is_directory(fs::symlink_status(path, code));
}

// The folder that `name` leads to, without links on the way.
std::optional<fs::path> linked(const fs::path& folder, std::string_view name) {
  std::error_code code;
  const fs::path target = fs::canonical(folder / name, code);
  return !code && is_folder(target) ? std::optional(target) : std::nullopt;
}

std::optional<fs::path> find_best(const fs::path& folder) { return linked(folder, kBest); }

std::optional<fs::path> find_last(const fs::path& folder) {
  std::error_code code;
  if (const auto target = linked(folder, kLast); target || !fs::is_directory(folder, code)) {
    return target;
  }
  std::optional<StepName> newest;
  for (const fs::path& entry : entries_of(folder)) {
    const auto name = StepName::parse(entry.filename().string());
    newest = name && is_folder(entry) ? std::max(newest, name) : newest;
  }
  return newest ? linked(folder, newest->str()) : std::nullopt;
}

nlohmann::json describe(const fs::path& path) {
  const MappedFile file(path);
  return {{"bytes", file.bytes().size()}, {"sha256", sha256(file.bytes())}};
}

void write_checkpoint(const fs::path& folder, std::int64_t step, const Checkpoint& checkpoint) {
  nlohmann::json document = {{"format", kFormat}, {"step", step}};
  document["state"] = parse_json(checkpoint.state_json, "the state of the checkpoint");
  make_folder(folder);
  write_safetensors(folder / kModelFile, checkpoint.model, checkpoint.model_metadata);
  document["files"][kModelFile] = describe(folder / kModelFile);
  if (!checkpoint.training.empty()) {
    write_safetensors(folder / kTrainingFile, checkpoint.training);
    document["files"][kTrainingFile] = describe(folder / kTrainingFile);
  }
  document["sha256"] = kNoHash;
  std::string text = document.dump(2) + "\n";
  text.replace(text.find(kNoHash), kNoHash.size(), hash_of_state(text, kNoHash));
  write_file_atomically(folder / kStateFile, text);
}

void move(const fs::path& from, const fs::path& to) {
  std::error_code code;
  fs::rename(from, to, code);
  check(!code, "cannot rename {} to {}: {}", from.string(), to.string(), code.message());
}

// Removes a file, link or folder with all in it. What cannot be removed is reported, not thrown: it
// takes space, but no checkpoint is worse for it.
void discard(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) {
    spdlog::warn("cannot remove {}: {}; remove it by hand", path.string(), code.message());
  }
}

// Makes folder/name a link to its neighbour `target`, replacing what it was in one step.
void link(const fs::path& folder, std::string_view name, const fs::path& target) {
  const fs::path temporary = folder / fmt::format("{}{}", kTemporaryPrefix, name);
  std::error_code code;
  fs::create_symlink(target.filename(), temporary, code);
  check(!code, "cannot create the link {}: {}; the folder must be on a file system with links",
        temporary.string(), code.message());
  move(temporary, folder / name);
  sync_folder(folder);
}

}  // namespace

CheckpointFolder::CheckpointFolder(fs::path folder) : folder_(std::move(folder)) {
  for (const std::string_view name : {kLast, kBest}) {
    std::error_code code;
    const fs::file_status status = fs::symlink_status(folder_ / name, code);
    check(!fs::exists(status) || fs::is_symlink(status),
          "{} is not a link, so no checkpoint could be saved there; rename it to something else",
          (folder_ / name).string());
  }
}

std::optional<fs::path> CheckpointFolder::last() const { return find_last(folder_); }
std::optional<fs::path> CheckpointFolder::best() const { return find_best(folder_); }

bool CheckpointFolder::restore_best(std::int64_t step) const {
  std::optional<StepName> newest;
  for (const fs::path& entry : entries_of(folder_)) {
    const auto name = StepName::parse(entry.filename().string());
    if (name && name->step == step && is_folder(entry)) {
      newest = std::max(newest, name);
    }
  }
  if (newest) {
    link(folder_, kBest, folder_ / newest->str());
  }
  return newest.has_value();
}

// Step folders are removed only if they are neither `last` nor `best`; other names are not ours.
// Failures are reported, not thrown, as by discard().
void CheckpointFolder::remove_unused() const {
  try {
    const auto kept_last = last();
    const auto kept_best = best();
    for (const fs::path& entry : entries_of(folder_)) {
      const std::string name = entry.filename().string();
      const auto target = linked(folder_, name);
      const bool unused =
          StepName::parse(name) && is_folder(entry) && target != kept_last && target != kept_best;
      if (unused || is_leftover(name)) {
        discard(entry);
      }
    }
  } catch (const Error& error) {
    spdlog::warn("old checkpoints were not removed: {}", error.what());
  }
}

void CheckpointFolder::save(std::int64_t step, const Checkpoint& checkpoint, bool is_best) {
  check(step >= 0, "[checkpoint] step {} is not possible", step);
  make_folder(folder_);
  sync_folder(folder_.parent_path());
  remove_unused();

  // remove_unused() has left nothing of this name but `last` and `best`, which must stay.
  StepName name{step};
  std::error_code code;
  while (fs::exists(fs::symlink_status(folder_ / name.str(), code))) {
    ++name.copy;
  }
  const fs::path target = folder_ / name.str();
  const fs::path temporary = folder_ / fmt::format("{}{}", kTemporaryPrefix, name.str());
  try {
    write_checkpoint(temporary, step, checkpoint);
    move(temporary, target);
    sync_folder(folder_);
    // `best` first: a run killed in between goes on from the old `last` and comes here again.
    if (is_best) {
      link(folder_, kBest, target);
    }
    link(folder_, kLast, target);
  } catch (...) {
    remove_unused();
    throw;
  }
  remove_unused();
}

namespace {

// Throws unless the file has the size and hash that were recorded when it was saved.
SafetensorsFile open_verified(const fs::path& path, const nlohmann::json& record) {
  const MappedFile file(path);
  const auto bytes = record.at("bytes").get<std::size_t>();
  check(file.bytes().size() == bytes, "{} has {} bytes; expected {}: it is not whole",
        path.string(), file.bytes().size(), bytes);
  const auto expected = record.at("sha256").get<std::string>();
  const std::string found = sha256(file.bytes());
  check(found == expected, "{} has SHA-256 {}; expected {}: it is damaged", path.string(), found,
        expected);
  return SafetensorsFile::open(path);
}

LoadedCheckpoint load_verified(const fs::path& folder) {
  const std::string state_file = (folder / kStateFile).string();
  const std::string text = read_file(state_file);
  const nlohmann::json document = parse_json(text, state_file);
  try {
    const auto format = document.at("format").get<std::int64_t>();
    check(format == kFormat,
          "{} has format {}; this version of Rondo reads format {}: update Rondo", state_file,
          format, kFormat);
    const auto expected = document.at("sha256").get<std::string>();
    const std::string found = hash_of_state(text, expected);
    check(found == expected, "{} has SHA-256 {}; expected {}: it is damaged", state_file, found,
          expected);
    const nlohmann::json& files = document.at("files");
    LoadedCheckpoint loaded{folder, open_verified(folder / kModelFile, files.at(kModelFile)),
                            std::nullopt, document.at("step").get<std::int64_t>(),
                            document.at("state").dump()};
    if (files.contains(kTrainingFile)) {
      loaded.training = open_verified(folder / kTrainingFile, files.at(kTrainingFile));
    }
    return loaded;
  } catch (const nlohmann::json::exception&) {
    fail("{} lacks what a checkpoint records; it is damaged", state_file);
  }
}

LoadedCheckpoint load_folder(const fs::path& folder) {
  try {
    return load_verified(folder);
  } catch (const Error& error) {
    const fs::path run = folder.parent_path();
    for (const auto& other : {find_last(run), find_best(run)}) {
      if (other && other != folder) {
        fail("cannot load checkpoint {}: {}; fall back on {}", folder.string(), error.what(),
             other->string());
      }
    }
    fail("cannot load checkpoint {}: {}; there is no other checkpoint of this run to fall back on",
         folder.string(), error.what());
  }
}

}  // namespace

LoadedCheckpoint load_checkpoint(const fs::path& path, CheckpointChoice choice) {
  std::error_code code;
  check(fs::exists(path, code), "cannot load a checkpoint from {}: there is no such file or folder",
        path.string());
  const std::string extension = path.extension().string();
  check(extension != ".yaml" && extension != ".yml",
        "{} is a config; name a run that was trained from it, such as runs/{}", path.string(),
        path.stem().string());
  if (!fs::is_directory(path, code)) {
    return {path, SafetensorsFile::open(path), std::nullopt, std::nullopt, std::nullopt};
  }
  if (fs::exists(path / kStateFile, code)) {
    // Without links on the way: a run that saves meanwhile may turn them elsewhere.
    return load_folder(fs::canonical(path, code));
  }
  const fs::path nested = path / "checkpoints";
  const fs::path folder = fs::is_directory(nested, code) ? nested : path;
  const auto best = find_best(folder);
  const auto last = find_last(folder);
  const auto chosen =
      choice == CheckpointChoice::best ? (best ? best : last) : (last ? last : best);
  check(chosen.has_value(),
        "cannot load a checkpoint from {}: it holds none; name a run, a checkpoint folder or a "
        "safetensors file",
        path.string());
  return load_folder(*chosen);
}

void require_tensors(std::span<const NamedTensor> targets, const SafetensorsFile& file,
                     std::string_view what) {
  constexpr std::size_t kMostShown = 5;
  std::vector<std::string> problems;
  std::set<std::string_view> known;
  for (const auto& [name, target] : targets) {
    known.insert(name);
    const std::string tensor = "tensor " + detail::quoted_for_message(name);
    if (!file.contains(name)) {
      problems.push_back(fmt::format("{} of shape {} is missing", tensor, target.shape().str()));
      continue;
    }
    const Tensor found = file.tensor(name);
    if (found.shape() != target.shape()) {
      problems.push_back(fmt::format("{} has shape {}, expected {}", tensor, found.shape().str(),
                                     target.shape().str()));
    } else if (found.dtype() != target.dtype()) {
      problems.push_back(fmt::format("{} is {}, expected {}", tensor, rondo::name(found.dtype()),
                                     rondo::name(target.dtype())));
    }
  }
  for (const std::string& name : file.names()) {
    if (!known.contains(name)) {
      problems.push_back(
          fmt::format("tensor {} is not expected", detail::quoted_for_message(name)));
    }
  }
  if (!problems.empty()) {
    const auto shown = std::span(problems).first(std::min(problems.size(), kMostShown));
    fail(
        "cannot load the {} from {}: {}{}; it was saved from another model: check the "
        "configuration",
        what, file.path().string(), fmt::join(shown, "; "),
        shown.size() < problems.size()
            ? fmt::format("; and {} more", problems.size() - shown.size())
            : "");
  }
}

void assign_tensors(std::span<const NamedTensor> targets, const SafetensorsFile& file,
                    std::string_view what) {
  require_tensors(targets, file, what);
  for (const auto& [name, target] : targets) {
    Tensor elements = target;
    elements.copy_from(file.tensor(name));
  }
}

}  // namespace rondo
