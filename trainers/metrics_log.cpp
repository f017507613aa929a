#include "trainers/metrics_log.h"

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

std::string encode(const MetricsRecord& record) {
  Json line;
  line["kind"] = record.kind;
  line["step"] = record.step;
  for (const auto& [name, value] : record.values) {
    // The library writes numbers that are not finite as null.
    std::visit([&, &key = name](const auto& held) { line[key] = held; }, value);
  }
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

MetricValue decode_value(const Json& value) {
  if (value.is_number_integer()) {
    return value.get<std::int64_t>();
  }
  if (value.is_number_float()) {
    return value.get<double>();
  }
  if (value.is_string()) {
    return value.get<std::string>();
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// Nothing when `line` is not a record.
std::optional<MetricsRecord> decode(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("kind") || !json["kind"].is_string() ||
      !json.contains("step") || !json["step"].is_number_integer()) {
    return std::nullopt;
  }
  MetricsRecord record{json["kind"].get<std::string>(), json["step"].get<std::int64_t>(), {}};
  for (const auto& [name, value] : json.items()) {
    if (name != "kind" && name != "step") {
      record.values.emplace_back(name, decode_value(value));
    }
  }
  return record;
}

// Calls visit(line, record) for every line of `text`, which is the content of `path`.
void for_each_record(const std::filesystem::path& path, std::string_view text,
                     const std::function<void(std::string_view, MetricsRecord)>& visit) {
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const bool cut_off = end == std::string_view::npos;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(cut_off ? text.size() : end + 1);
    std::optional<MetricsRecord> record = decode(line);
    if (record) {
      visit(line, *std::move(record));
    } else {
      check(cut_off,
            "{} line {}: expected a JSON object with \"kind\" (text) and \"step\" (integer), found "
            "\"{}\"; remove the line to go on",
            path.string(), number, line.substr(0, 60));
    }
  }
}

}  // namespace

double MetricsRecord::number(std::string_view name) const {
  for (const auto& [key, value] : values) {
    if (key == name) {
      if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        return static_cast<double>(*integer);
      }
      if (const auto* real = std::get_if<double>(&value)) {
        return *real;
      }
    }
  }
  return std::numeric_limits<double>::quiet_NaN();
}

MetricsLog::MetricsLog(const std::filesystem::path& path, std::int64_t step)
    : file_((truncate_after(path, step), path), FileWriter::Mode::append) {}

void MetricsLog::write(const MetricsRecord& record) { file_.write(encode(record)); }

void truncate_after(const std::filesystem::path& path, std::int64_t step) {
  if (!std::filesystem::exists(path)) {
    return;
  }
  const std::string text = read_file(path);
  std::string kept;
  kept.reserve(text.size());
  for_each_record(path, text, [&](std::string_view line, const MetricsRecord& record) {
    if (record.step <= step) {
      kept.append(line).push_back('\n');
    }
  });
  if (kept != text) {
    write_file_atomically(path, kept);
  }
}

std::vector<MetricsRecord> read_metrics(const std::filesystem::path& path) {
  std::vector<MetricsRecord> records;
  for_each_record(path, read_file(path), [&](std::string_view, MetricsRecord record) {
    records.push_back(std::move(record));
  });
  return records;
}

}  // namespace rondo
