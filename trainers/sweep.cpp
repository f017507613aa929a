#include "trainers/sweep.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/file.h"
#include "trainers/checkpoint.h"
#include "trainers/config_fields.h"
#include "trainers/metrics_log.h"
#include "trainers/run_lock.h"
#include "trainers/yaml_document.h"

namespace rondo {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestName = 200;  // file systems take 255 bytes

bool is_safe(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._=+,-").find(c) != std::string_view::npos;
}

// A name that is a folder's as it stands.
std::string read_name(const YAML::Node& node, const std::string& where) {
  check(node.IsScalar() && !node.Scalar().empty() && node.Scalar().size() <= kLongestName &&
            node.Scalar().front() != '.' && node.Scalar().front() != '-' &&
            std::ranges::all_of(node.Scalar(), is_safe),
        "{}: name: expected up to {} letters, digits and characters of ._=+,- that name a folder, "
        "found {}",
        where, kLongestName, found(node));
  return node.Scalar();
}

// A value as a part of a folder's name: "1e-3", "2+4" for a list, "none" for an empty one.
std::string value_name(const YAML::Node& node) {
  if (node.IsSequence()) {
    std::string name;
    for (const YAML::Node& element : node) {
      name += fmt::format("{}{}", name.empty() ? "" : "+", value_name(element));
    }
    return name.empty() ? "none" : name;
  }
  std::string name = node.IsScalar() ? node.Scalar() : "null";
  std::ranges::replace_if(
      name, [](char c) { return !is_safe(c); }, '-');
  return name;
}

SettingOverride read_value(const std::string& key, const YAML::Node& node,
                           const std::string& where) {
  check(key != "run.folder", "{}: run.folder is the sweep's to choose; use --folder", where);
  check(!node.IsMap(),
        "{}: {}: expected the value of a setting such as training.steps, found a map", where, key);
  return {key, yaml_text(node), where};
}

using Settings = std::vector<SettingOverride>;

// Settings that several runs share, or one has.
Settings read_settings(const YAML::Node& map, const std::string& where, const YamlSource& source) {
  check(map.IsMap(), "{}: set: expected settings such as training.steps: 2000, found {}", where,
        found(map));
  Settings settings;
  for_each_key(map, "", source,
               [&](const std::string& key, const YAML::Node& value, const std::string& line) {
                 settings.push_back(read_value(key, value, line));
               });
  return settings;
}

// A named way to start: an entry of `runs`, or the config alone, without a name.
struct Start {
  std::string name;
  fs::path config;
  std::string where;
  Settings settings;
};

struct GridValue {
  SettingOverride setting;
  std::string name;
};

// A setting of the grid with all its values.
struct GridAxis {
  std::string key;
  std::vector<GridValue> values;
};

class SweepReader {
 public:
  explicit SweepReader(const fs::path& file)
      : folder_(file.parent_path()), source_{file.string()}, name_(file.stem().string()) {
    const YAML::Node root = parse_document(read_file(file), source_);
    check(root.IsMap(), "{}: expected a sweep with config, grid and runs, found {}", source_.name,
          found(root));
    for_each_key(root, "", source_,
                 [&](const std::string& key, const YAML::Node& value, const std::string& where) {
                   read(key, value, where);
                 });
    check(!grid_.empty() || !starts_.empty(),
          "{}: expected grid, runs, or both: without them nothing differs", source_.name);
    if (starts_.empty()) {
      starts_.push_back({"", config_, source_.name, {}});
    }
    for (Start& start : starts_) {
      start.config = start.config.empty() ? config_ : start.config;
      check(!start.config.empty(), "{}: expected a config to start from: config: FILE",
            start.where);
    }
  }

  const std::string& name() const { return name_; }

  // Every start with every combination of the grid.
  std::vector<SweepRun> runs(const fs::path& folder, const Settings& overrides) const {
    std::vector<SweepRun> runs;
    std::set<std::string> names;
    for (const Start& start : starts_) {
      std::vector<std::size_t> at(grid_.size(), 0);
      do {
        runs.push_back(run(start, at, folder, overrides));
        check(names.insert(runs.back().name).second,
              "{}: two runs are called {}; give each setting of the grid and each run only once",
              start.where, runs.back().name);
      } while (advance(at));
    }
    return runs;
  }

  bool varies(const std::string& key) const {
    return std::ranges::find(grid_, key, &GridAxis::key) != grid_.end();
  }

 private:
  void read(const std::string& key, const YAML::Node& value, const std::string& where) {
    if (key == "name") {
      name_ = read_name(value, where);
    } else if (key == "config") {
      config_ = read_config(value, where);
    } else if (key == "set") {
      settings_ = read_settings(value, where, source_);
    } else if (key == "grid") {
      read_grid(value, where);
    } else if (key == "runs") {
      read_starts(value, where);
    } else {
      fail("{}: {} is nothing that a sweep has; expected name, config, set, grid or runs", where,
           key);
    }
  }

  fs::path read_config(const YAML::Node& node, const std::string& where) const {
    check(node.IsScalar() && !node.Scalar().empty(),
          "{}: config: expected the name of a configuration file, found {}", where, found(node));
    return folder_ / node.Scalar();
  }

  void read_grid(const YAML::Node& map, const std::string& where) {
    check(map.IsMap() && map.size() > 0,
          "{}: grid: expected settings with a list of values each, as in optimizer.lr: [1e-3, "
          "2e-3]; found {}",
          where, map.IsMap() ? "none" : found(map));
    for_each_key(map, "grid.", source_,
                 [&](const std::string& key, const YAML::Node& values, const std::string& line) {
                   check(values.IsSequence() && values.size() > 0,
                         "{}: grid: {}: expected a list of at least one value, found {}", line, key,
                         values.IsSequence() ? "an empty one" : found(values));
                   GridAxis axis{key, {}};
                   for (const YAML::Node& value : values) {
                     axis.values.push_back(
                         {read_value(key, value, source_.at(value.Mark())), value_name(value)});
                   }
                   grid_.push_back(std::move(axis));
                 });
  }

  void read_starts(const YAML::Node& list, const std::string& where) {
    check(list.IsSequence() && list.size() > 0,
          "{}: runs: expected a list of at least one run, as in - name: wide; found {}", where,
          list.IsSequence() ? "an empty one" : found(list));
    for (const YAML::Node& entry : list) {
      Start start;
      start.where = source_.at(entry.Mark());
      check(entry.IsMap(), "{}: runs: expected name, config and set, found {}", start.where,
            found(entry));
      for_each_key(entry, "", source_,
                   [&](const std::string& key, const YAML::Node& value, const std::string& line) {
                     if (key == "name") {
                       start.name = read_name(value, line);
                     } else if (key == "config") {
                       start.config = read_config(value, line);
                     } else if (key == "set") {
                       start.settings = read_settings(value, line, source_);
                     } else {
                       fail("{}: {} is nothing that a run has; expected name, config or set", line,
                            key);
                     }
                   });
      check(!start.name.empty(), "{}: runs: expected a name for each run, found none", start.where);
      starts_.push_back(std::move(start));
    }
  }

  // The last axis moves first. False after the last combination.
  bool advance(std::vector<std::size_t>& at) const {
    for (std::size_t i = at.size(); i-- > 0;) {
      if (++at[i] < grid_[i].values.size()) {
        return true;
      }
      at[i] = 0;
    }
    return false;
  }

  // "attention_layers", or the whole key where another section has the same.
  std::string short_key(const std::string& key) const {
    const auto last = [](const std::string& full) { return full.substr(full.find('.') + 1); };
    const auto same = std::ranges::count_if(
        grid_, [&](const GridAxis& axis) { return last(axis.key) == last(key); });
    return same > 1 ? key : last(key);
  }

  SweepRun run(const Start& start, const std::vector<std::size_t>& at, const fs::path& folder,
               const Settings& overrides) const {
    SweepRun run;
    run.name = start.name;
    run.settings = settings_;
    run.settings.insert(run.settings.end(), start.settings.begin(), start.settings.end());
    const bool only_one =
        starts_.size() == 1 && start.name.empty() &&
        std::ranges::all_of(grid_, [](const GridAxis& axis) { return axis.values.size() == 1; });
    for (std::size_t i = 0; i < grid_.size(); ++i) {
      const GridValue& value = grid_[i].values[at[i]];
      run.settings.push_back(value.setting);
      if (grid_[i].values.size() > 1 || only_one) {
        run.name += fmt::format("{}{}={}", run.name.empty() ? "" : ",", short_key(grid_[i].key),
                                value.name);
      }
    }
    check(run.name.size() <= kLongestName,
          "{}: the run {} would have a name longer than {} bytes; vary fewer settings at once",
          start.where, run.name, kLongestName);
    run.settings.insert(run.settings.end(), overrides.begin(), overrides.end());
    try {
      run.config = load_config(start.config, std::span<const SettingOverride>(run.settings));
    } catch (const Error& problem) {
      fail("run {} of {}: {}", run.name, source_.name, problem.what());
    }
    run.config.run.folder = (folder / run.name).string();
    return run;
  }

  fs::path folder_;
  YamlSource source_;
  std::string name_;
  fs::path config_;
  Settings settings_;
  std::vector<GridAxis> grid_;
  std::vector<Start> starts_;
};

// What does not change a run's course, or only by rounding.
bool may_differ(std::string_view section, std::string_view key) {
  return section == "published" ||
         (section == "run" && (key == "folder" || key == "threads" || key == "device"));
}

// "training.steps is 200 there and 400 here", for all that differ.
std::vector<std::string> differences(Config there, Config here) {
  const std::vector<Section> a = list_settings(there);
  const std::vector<Section> b = list_settings(here);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = 0; j < a[i].fields.size(); ++j) {
      const std::string old_value = a[i].fields[j].str();
      const std::string new_value = b[i].fields[j].str();
      if (old_value != new_value && !may_differ(a[i].name, a[i].fields[j].key)) {
        texts.push_back(fmt::format("{}.{} is {} there and {} here", a[i].name, a[i].fields[j].key,
                                    old_value, new_value));
      }
    }
  }
  constexpr std::size_t kMost = 5;
  if (texts.size() > kMost) {
    const std::size_t more = texts.size() - kMost;
    texts.resize(kMost);
    texts.push_back(fmt::format("{} more", more));
  }
  return texts;
}

}  // namespace

Sweep load_sweep(const fs::path& file, fs::path folder, std::span<const std::string> overrides) {
  const SweepReader reader(file);
  Settings settings;
  for (const std::string& text : overrides) {
    settings.push_back(parse_override(text));
    const SettingOverride& setting = settings.back();
    check(setting.key != "run.folder", "{}: run.folder is the sweep's to choose; use --folder",
          setting.where);
    check(!reader.varies(setting.key), "{}: the grid of {} varies this setting; change it there",
          setting.where, file.string());
  }
  Sweep sweep;
  sweep.name = reader.name();
  sweep.folder = folder.empty() ? fs::path("runs") / sweep.name : std::move(folder);
  sweep.runs = reader.runs(sweep.folder, settings);
  return sweep;
}

SweepRunState state_of(const SweepRun& run) {
  const fs::path folder = run.config.run.folder;
  const fs::path config = folder / "config.yaml";
  std::error_code code;
  if (!fs::exists(config, code)) {
    check(!CheckpointFolder(folder / "checkpoints").last(),
          "{} holds checkpoints but no config.yaml that says of what run; move it away",
          folder.string());
    return SweepRunState::fresh;
  }
  const auto different = differences(parse_config(read_file(config), config.string()), run.config);
  check(different.empty(),
        "{} holds a run with other settings: {}; give the sweep another folder with --folder, or "
        "move that run away",
        folder.string(), fmt::join(different, ", "));
  if (is_training(folder)) {
    return SweepRunState::running;
  }
  const fs::path metrics = folder / "metrics.jsonl";
  if (!fs::exists(metrics, code) || read_metrics(metrics).empty()) {
    return SweepRunState::interrupted;
  }
  switch (read_run(folder).status) {
    case RunStatus::finished:
      return SweepRunState::finished;
    case RunStatus::diverged:
      return SweepRunState::diverged;
    case RunStatus::running:  // since a moment ago
      return SweepRunState::running;
    case RunStatus::stopped:
      break;
  }
  return SweepRunState::interrupted;
}

}  // namespace rondo
