// The program `rondo` as its users call it, and a place with a corpus and a config to try it on.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"
#include "tools/format.h"

namespace rondo::testing {

using Words = std::vector<std::string>;

// What CLI11 exits with (CLI/Error.hpp).
constexpr int kInvalid = 105;
constexpr int kRequired = 106;
constexpr int kUnexpected = 109;

// However it ends, it is neither killed, but by the signal that stopped it, nor aborts.
inline void require_orderly(const ProcessResult& result, int signal = 0) {
  INFO(result.out << result.err);
  REQUIRE((result.exit_code < 128 || result.exit_code == 128 + signal));
  REQUIRE((result.out + result.err).find("terminate called") == std::string::npos);
}

inline ProcessResult rondo_does(Words words) {
  words.insert(words.begin(), RONDO_BINARY);
  ProcessResult result = run_process(words);
  require_orderly(result);
  return result;
}

// Standard output of a call that succeeds.
inline std::string output_of(const Words& words) {
  const ProcessResult result = rondo_does(words);
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == 0);
  return result.out;
}

// The message of a call that fails.
inline std::string failure_of(const Words& words, int exit_code = 1) {
  const ProcessResult result = rondo_does(words);
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == exit_code);
  return result.err;
}

// A POSIX shell's command line, in which `rondo` is the program.
inline ProcessResult shell(const std::string& command) {
  const std::string folder = std::filesystem::path(RONDO_BINARY).parent_path().string();
  ProcessResult result =
      run_process({"/bin/sh", "-c", "PATH=" + shell_quoted(folder) + ":$PATH; " + command});
  require_orderly(result);
  return result;
}

inline std::string sample_text() {
  std::string text;
  for (int line = 0; text.size() < 6000; ++line) {
    text += fmt::format("line {} of a small text\n", line);
  }
  return text;
}

// A folder with a corpus and a config; its name has a space and a quote.
struct Workplace {
  explicit Workplace(const std::string& more = "") : folder(temporary / "it's here") {
    std::filesystem::create_directory(folder);
    write_bytes(folder / "text.txt", sample_text());
    output_of({"prepare", "text", path("text.txt"), "--output", path("corpus")});
    write_bytes(folder / "tiny.yaml",
                "run: {threads: 1, folder: \"" + path("run") + "\"}\n" + "data: {corpus: \"" +
                    path("corpus") + "\"}\n" +
                    "model: {hidden_size: 16, num_layers: 2, projection_size: 4, dropout: 0.1}\n"
                    "training: {steps: 8, batch_size: 2, unroll: 16}\n"
                    "optimizer: {lr: 5e-3}\n"
                    "schedule: {type: constant}\n"
                    "evaluation: {every: 4, batch_size: 8}\n"
                    "checkpoint: {every: 4}\n"
                    "logging: {every: 1}\n"
                    "sample: {length: 20}\n" +
                    more);
  }

  std::string path(std::string_view name) const { return (folder / name).string(); }
  std::string config() const { return path("tiny.yaml"); }
  // A file of the run's last checkpoint.
  std::string last(std::string_view run, std::string_view file = "model.safetensors") const {
    return read_bytes(folder / run / "checkpoints" / "last" / file);
  }

  // Trains, without whatever takes time and shows nothing here.
  void train(const Words& more = {}) const {
    Words words{"train", config(),         "--set", "evaluation.test_at_end=false",
                "--set", "sample.length=0"};
    words.insert(words.end(), more.begin(), more.end());
    output_of(words);
  }

  TemporaryFolder temporary;
  std::filesystem::path folder;
};

}  // namespace rondo::testing
