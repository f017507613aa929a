// Which configurations make sense.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "trainers/config.h"

namespace rondo {

// Where each setting was given, by its full key: "training.steps" -> "configs/x.yaml:14". The key
// "" names the source as a whole, for settings that were not given.
using Origins = std::map<std::string, std::string, std::less<>>;

// Throws Error naming the setting, what it must be and what it is, for a value outside its limits
// and for settings that contradict each other. Files are read through it; a Config made in C++
// should be passed to it, too. What holds does not depend on the machine: require_device does.
void validate(const Config& config, const Origins& origins = {});
void validate(const ModelConfig& config, const Origins& origins = {});

// Throws Error, saying what there is, unless this build and this machine have run.device.
void require_device(const Config& config);

}  // namespace rondo
