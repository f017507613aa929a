#include "trainers/metrics_log.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

std::vector<std::int64_t> steps_of(const std::filesystem::path& path) {
  std::vector<std::int64_t> steps;
  for (const MetricsRecord& record : read_metrics(path)) {
    steps.push_back(record.step);
  }
  return steps;
}

using Steps = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("metrics are one JSON object a line and read back as written",
          "[trainers][metrics][cpu]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "metrics.jsonl";
  const std::int64_t tokens = (std::int64_t{1} << 53) + 1;  // not a double
  MetricsLog log(path);
  log.write({"train", 10, {{"bpc", 4.25}, {"tokens", tokens}, {"note", "a \"b\"\n\xff"}}});
  log.write({"dev", 10, {{"bpc", 0.1}}});
  // Read while the log is open: every record is there at once.
  const std::string text = read_file(path);
  const std::size_t end = text.find('\n');
  REQUIRE(text.substr(0, end) ==
          R"({"kind":"train","step":10,"bpc":4.25,"tokens":9007199254740993,"note":"a \"b\"\n)"
          "\xef\xbf\xbd\"}");
  REQUIRE(nlohmann::json::parse(text.substr(end + 1))["bpc"].get<double>() == 0.1);

  const std::vector<MetricsRecord> records = read_metrics(path);
  REQUIRE(records.size() == 2);
  REQUIRE(records[0].kind == "train");
  REQUIRE(records[0].step == 10);
  REQUIRE(records[0].values.size() == 3);
  REQUIRE(records[0].values[1].first == "tokens");
  REQUIRE(std::get<std::int64_t>(records[0].values[1].second) == tokens);
  REQUIRE(records[1].kind == "dev");
  REQUIRE(records[1].number("bpc") == 0.1);
}

TEST_CASE("numbers that are not finite become null and then NaN", "[trainers][metrics][cpu]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "metrics.jsonl";
  const double infinity = std::numeric_limits<double>::infinity();
  MetricsLog(path).write({"train", 1, {{"a", std::nan("")}, {"b", infinity}, {"c", -infinity}}});
  REQUIRE(read_file(path) == "{\"kind\":\"train\",\"step\":1,\"a\":null,\"b\":null,\"c\":null}\n");
  const MetricsRecord record = read_metrics(path).at(0);
  for (const char* name : {"a", "b", "c", "absent"}) {
    REQUIRE(std::isnan(record.number(name)));
  }
}

TEST_CASE("a resumed log holds each step once", "[trainers][metrics][cpu]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "metrics.jsonl";
  {
    MetricsLog log(path);
    for (const std::int64_t step : {0, 10, 20, 30}) {
      log.write({"train", step, {{"bpc", 1.0}}});
      log.write({"dev", step, {{"bpc", 2.0}}});
    }
  }
  {
    MetricsLog resumed(path, 20);
    REQUIRE(steps_of(path) == Steps{0, 0, 10, 10, 20, 20});
    resumed.write({"train", 30, {{"bpc", 3.0}}});
  }
  REQUIRE(steps_of(path) == Steps{0, 0, 10, 10, 20, 20, 30});
  REQUIRE(read_metrics(path).back().number("bpc") == 3.0);
}

TEST_CASE("truncate_after keeps lines as they are and drops a cut-off one",
          "[trainers][metrics][cpu]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "metrics.jsonl";
  truncate_after(path, 5);
  REQUIRE_FALSE(std::filesystem::exists(path));

  const std::string kept = "{ \"step\": 5, \"kind\": \"dev\", \"later\": [1, {\"x\": true}] }\n";
  const std::string whole = R"({"kind":"train","step":6})";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_bytes(path, kept + whole.substr(0, size));
    REQUIRE(steps_of(path) == Steps{5});
    truncate_after(path, 10);
    REQUIRE(read_file(path) == kept);
  }
  // Only the line break is missing: the record is whole, and kept where its step is.
  write_bytes(path, kept + whole);
  truncate_after(path, 10);
  REQUIRE(read_file(path) == kept + whole + "\n");
  truncate_after(path, 5);
  REQUIRE(read_file(path) == kept);
  truncate_after(path, 4);
  REQUIRE(read_file(path).empty());
  REQUIRE(read_metrics(path).empty());
}

TEST_CASE("a damaged line is named and the log left alone", "[trainers][metrics][cpu]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "metrics.jsonl";
  const std::string good = "{\"kind\":\"train\",\"step\":1}\n";
  for (const std::string bad : {"nonsense", "", "[]", "{\"kind\":\"train\"}",
                                "{\"kind\":1,\"step\":1}", "{\"kind\":\"dev\",\"step\":1.5}"}) {
    const std::string text = good + bad + "\n" + good;
    write_bytes(path, text);
    const std::string expected = path.string() + " line 2: expected a JSON object";
    REQUIRE_THAT(error_of([&] { read_metrics(path); }), ContainsSubstring(expected));
    REQUIRE_THAT(error_of([&] { MetricsLog(path, 0); }), ContainsSubstring(expected));
    REQUIRE(read_file(path) == text);
  }
  REQUIRE_THAT(error_of([&] { read_metrics(folder.path() / "absent"); }),
               ContainsSubstring("cannot open"));
}
