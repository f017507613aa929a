// Help for a misspelt setting.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "trainers/config_fields.h"

namespace rondo {

// What to say after "... is not a setting": "did you mean model.hidden_size?" where something is
// spelt nearly like `path` ("model.hiden_size", "hidden_size"), in its section or another;
// otherwise a list of what there is.
std::string suggest_setting(std::string_view path, std::span<const Section> sections);

}  // namespace rondo
