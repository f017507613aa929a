// The log: spdlog's default logger, with our format. Messages go to standard error.
#pragma once

#include <spdlog/spdlog.h>

namespace rondo {

// Sets the format and the level ("trace", "debug", "info", "warn", "error" or "off").
void configure_log(spdlog::level::level_enum level = spdlog::level::info);

}  // namespace rondo
