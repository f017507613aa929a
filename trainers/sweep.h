// Sweeps: many runs that differ in a few settings, described in one YAML file.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "trainers/config_yaml.h"
#include "trainers/run_report.h"

namespace rondo {

struct SweepRun {
  std::string name;                       // of its folder, from what makes it differ
  std::vector<SettingOverride> settings;  // what the sweep sets, in order
  Config config;                          // complete; run.folder is the run's own
};

struct Sweep {
  std::string name;
  std::filesystem::path folder;  // that of each run is folder/<name of the run>
  std::vector<SweepRun> runs;
};

// Reads a sweep:
//
//   name: attention            # else the name of the file
//   config: ../small.yaml      # what runs start from, a path relative to this file
//   set:                       # settings of all runs
//     training.steps: 2000
//   grid:                      # all combinations of these, the last setting changing fastest
//     model.attention_layers: [[2], [4], [2, 4]]
//     optimizer.lr: [1e-3, 2e-3]
//   runs:                      # named runs, each combined with the whole grid, if there is one
//     - name: wide
//       config: ../wide.yaml   # else the config above
//       set: {model.dropout: 0.2}
//
// There is a grid, or runs, or both. Later settings win: set, a run's set, grid, `overrides` (as
// "section.key=value"). An empty `folder` becomes runs/<name of the sweep>. A run is named by its
// own name and by the settings of the grid that have several values: "wide,attention_layers=2+4".
//
// Throws Error with the file, line and key at the first thing that is wrong, in the sweep or in the
// config that a run comes to; for two runs of one name; for run.folder among the settings, which is
// the sweep's to choose; and for an override of what the grid varies.
Sweep load_sweep(const std::filesystem::path& file, std::filesystem::path folder = {},
                 std::span<const std::string> overrides = {});

enum class SweepRunState { fresh, running, interrupted, finished, diverged };

// How far a run's folder is. Throws Error when it holds a run with other settings, naming up to
// five of them, but for where it runs (run.device, run.threads) and what was published; and when
// what is there cannot be read.
SweepRunState state_of(const SweepRun& run);

}  // namespace rondo
