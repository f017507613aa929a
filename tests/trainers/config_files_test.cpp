// Configuration files: where a run goes, bases, and the files that Rondo ships.
#include <cmath>
#include <filesystem>
#include <string>

#include "core/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"
#include "trainers/config_yaml.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

const std::string kMinimal = "model:\n  projection_size: 64\n";

// A folder to write configs into.
class ConfigFolder {
 public:
  std::string write(const std::string& name, std::string_view text) const {
    write_file_atomically(folder_ / name, text);
    return at(name);
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

 private:
  TemporaryFolder folder_;
};

// Numbers of a language model in which every layer attends, over `vocabulary` bytes.
std::int64_t parameters(const ModelConfig& model, std::int64_t vocabulary) {
  const std::int64_t d = model.hidden_size;
  const std::int64_t n = model.projection_size;
  const std::int64_t layer = n * d + 3 * d * n + 2 * n * n + 1 + 2 * n + 2 * d + 2 * d;
  return model.num_layers * layer + 2 * vocabulary * d + vocabulary;
}

Config shipped(const std::string& name) {
  return load_config(std::filesystem::path(RONDO_SOURCE_DIR) / "configs" / (name + ".yaml"));
}

}  // namespace

TEST_CASE("a file names its run, unless it names another", "[config][cpu]") {
  const ConfigFolder folder;
  const std::string file = folder.write("first_try.yaml", kMinimal);
  REQUIRE(load_config(file).run.folder == "runs/first_try");
  const std::vector<std::string> overrides = {"run.folder=elsewhere"};
  REQUIRE(load_config(file, overrides).run.folder == "elsewhere");
}

TEST_CASE("a file that cannot be read is named", "[config][cpu]") {
  const ConfigFolder folder;
  REQUIRE_THAT(error_of([&] { load_config(folder.at("none.yaml")); }),
               ContainsSubstring("none.yaml: No such file or directory"));
  REQUIRE_THAT(error_of([&] { load_config(folder.at(".")); }), ContainsSubstring("regular file"));
  const std::string empty = folder.write("empty.yaml", "");
  REQUIRE(error_of([&] { load_config(empty); }) ==
          empty + ": the file is empty; expected settings such as training.steps");
}

TEST_CASE("a base is read first and overridden key by key", "[config][cpu]") {
  const ConfigFolder folder;
  folder.write("base.yaml", "model: {projection_size: 64, num_layers: 3}\noptimizer: {lr: 0.5}\n");
  folder.write("middle.yaml", "model: {num_layers: 4, rescale: true}\nbase: base.yaml\n");
  const std::string top = folder.write("top.yaml", "base: middle.yaml\nmodel: {rescale: false}\n");
  const Config config = load_config(top);
  REQUIRE(config.model.projection_size == 64);
  REQUIRE(config.model.num_layers == 4);
  REQUIRE(config.model.rescale == false);
  REQUIRE(config.optimizer.lr == 0.5);
  REQUIRE(config.run.folder == "runs/top");
}

TEST_CASE("trouble with a base names the file and line it is in", "[config][cpu]") {
  const ConfigFolder folder;
  const std::string bad = folder.write("bad.yaml", "model:\n  hiden_size: 5\n");
  const std::string on_bad = folder.write("on_bad.yaml", "base: bad.yaml\n");
  REQUIRE_THAT(error_of([&] { load_config(on_bad); }),
               ContainsSubstring(bad + ":2: model.hiden_size is not a setting"));

  // The base is valid by itself; the file above it is not, and the line is the base's.
  const std::string base =
      folder.write("base.yaml", "model:\n  projection_size: 64\n  attention_layers: [10]\n");
  const std::string fewer = folder.write("fewer.yaml", "base: base.yaml\nmodel: {num_layers: 9}\n");
  REQUIRE_THAT(error_of([&] { load_config(fewer); }),
               ContainsSubstring(base + ":3: model.attention_layers: expected layers from 1 to"));

  const std::string missing = folder.write("missing.yaml", "\nbase: none.yaml\n");
  REQUIRE_THAT(error_of([&] { load_config(missing); }),
               ContainsSubstring(missing + ":2: base: cannot open " + folder.at("none.yaml")));

  const std::string self = folder.write("self.yaml", "base: ./self.yaml\n");
  REQUIRE_THAT(error_of([&] { load_config(self); }), ContainsSubstring(self + ":1: base: "));
  folder.write("a.yaml", "base: b.yaml\n");
  folder.write("b.yaml", "base: a.yaml\n");
  REQUIRE_THAT(error_of([&] { load_config(folder.at("a.yaml")); }),
               ContainsSubstring(folder.at("b.yaml") + ":1: base: " + folder.at("a.yaml") +
                                 " is built on this file"));
  const std::string list = folder.write("list.yaml", "base: [base.yaml]\n");
  REQUIRE_THAT(error_of([&] { load_config(list); }),
               ContainsSubstring(list + ":1: base: expected the name of another"));
}

TEST_CASE("every shipped configuration is valid and opens with what it is", "[config][cpu]") {
  int count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(RONDO_SOURCE_DIR) / "configs")) {
    if (entry.is_directory()) {
      continue;
    }
    CAPTURE(entry.path());
    const Config config = load_config(entry.path());
    REQUIRE(parse_config(dump_config(config), "dump") == config);
    const std::string text = read_file(entry.path());
    REQUIRE(text.starts_with("# "));
    REQUIRE_THAT(text,
                 ContainsSubstring("rondo train configs/" + entry.path().filename().string()));
    ++count;
  }
  REQUIRE(count > 0);
}

TEST_CASE("shipped models have the published sizes", "[config][cpu]") {
  constexpr std::int64_t enwik8_bytes = 205;
  for (const auto& [name, published] : {std::pair{"enwik8_42m", 42e6},
                                        {"enwik8_108m", 107.5e6},
                                        {"enwik8_191m", 190.5e6},
                                        {"enwik8_195m", 195e6}}) {
    CAPTURE(name);
    // Published in whole or half millions.
    REQUIRE(std::abs(static_cast<double>(parameters(shipped(name).model, enwik8_bytes)) -
                     published) <= 0.5e6);
  }
}

TEST_CASE("the runs of a sweep differ in attention alone", "[config][cpu]") {
  const auto without_attention = [](const std::string& name) {
    Config config = shipped(name);
    config.run.folder.clear();
    config.published = {};
    config.model.attention_every_n_layers.reset();
    config.model.attention_last_n_layers.reset();
    config.model.attention_layers.reset();
    return config;
  };
  for (const char* end : {"0", "1", "2", "5", "10"}) {
    REQUIRE(without_attention(std::string("enwik8_42m_attention_") + end) ==
            without_attention("enwik8_42m"));
  }
  for (const char* end : {"0", "1", "2", "all"}) {
    REQUIRE(without_attention(std::string("small_attention_") + end) == without_attention("small"));
  }
}
