// `rondo bench`, from the command line to its JSON.
#include <filesystem>

#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Words = std::vector<std::string>;

// A config small enough to be measured in no time.
struct TinyBench {
  TinyBench() {
    write_bytes(config(), R"(run: {threads: 1}
model: {hidden_size: 16, num_layers: 2, projection_size: 4, attention_last_n_layers: 1}
training: {batch_size: 2, unroll: 16}
)");
  }

  std::string config() const { return path("tiny.yaml"); }
  std::string path(std::string_view name) const { return (folder / name).string(); }

  ProcessResult run(const Words& more) const {
    Words words{RONDO_BINARY, "bench", "train", config(), "--warmup", "2", "--steps", "3"};
    words.insert(words.end(), more.begin(), more.end());
    ProcessResult result = run_process(words);
    INFO(result.out << result.err);
    REQUIRE(result.exit_code < 128);
    return result;
  }

  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("bench train writes what it measured", "[tools][bench]") {
  const TinyBench bench;
  const ProcessResult result = bench.run({"--json", bench.path("out.json")});
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == 0);
  REQUIRE_THAT(result.out, ContainsSubstring("SRU++, 2 layers of 16, projection 4") &&
                               ContainsSubstring("tokens/s") && ContainsSubstring("GFLOP/s") &&
                               ContainsSubstring("GB/s") && ContainsSubstring("weights "));
  const nlohmann::json json = nlohmann::json::parse(read_bytes(bench.path("out.json")));
  REQUIRE(json.at("command") == "train");
  REQUIRE(json.at("config") == bench.config());
  REQUIRE(json.at("device") == "cpu");
  REQUIRE_FALSE(json.at("processor").get<std::string>().empty());
  REQUIRE(json.at("threads") == 1);
  REQUIRE_FALSE(json.at("matmul_backend").get<std::string>().empty());
  REQUIRE(json.at("precision") == "f32");
  REQUIRE(json.at("batch_size") == 2);
  REQUIRE(json.at("unroll") == 16);
  REQUIRE(json.at("memory_length") == 16);
  REQUIRE(json.at("tokens_per_step") == 32);
  REQUIRE(json.at("warmup_steps") == 2);
  REQUIRE(json.at("steps") == 3);
  REQUIRE(json.at("step_seconds").size() == 3);

  const auto number = [&](const char* key) { return json.at(key).get<double>(); };
  std::vector<double> seconds = json.at("step_seconds").get<std::vector<double>>();
  std::sort(seconds.begin(), seconds.end());
  REQUIRE(number("seconds_per_step") == seconds[1]);
  REQUIRE(number("tokens_per_second") * number("seconds_per_step") == Approx(32));
  REQUIRE(number("model_gflops") * number("seconds_per_step") ==
          Approx(number("model_gflop_per_step")));
  REQUIRE(number("fraction_of_gemm") * number("gemm_gflops") == Approx(number("model_gflops")));
  for (const char* key : {"parameters", "vocabulary", "copy_gbytes_per_second", "loss_nats"}) {
    INFO(key);
    REQUIRE(number(key) > 0.0);
  }
  REQUIRE(number("weights_bytes") == 4 * number("parameters"));
  REQUIRE(number("peak_memory_bytes") > number("weights_bytes"));
  REQUIRE(number("reserved_memory_bytes") >= number("peak_memory_bytes"));
  REQUIRE(number("peak_rss_bytes") >= number("peak_memory_bytes"));

  // No run folder, nothing else.
  REQUIRE(std::distance(std::filesystem::directory_iterator(bench.folder.path()), {}) == 2);
}

TEST_CASE("bench train can print its figures alone", "[tools][bench]") {
  const TinyBench bench;
  const ProcessResult result =
      bench.run({"--json", "-", "--threads", "2", "--set", "training.unroll=8"});
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == 0);
  const nlohmann::json json = nlohmann::json::parse(result.out);
  REQUIRE(json.at("threads") == 2);
  REQUIRE(json.at("tokens_per_step") == 16);
}

TEST_CASE("mistakes in a measurement are explained", "[tools][bench]") {
  const TinyBench bench;
  const auto failure = [&](const Words& more) {
    const ProcessResult result = bench.run(more);
    REQUIRE(result.exit_code != 0);
    return result.err;
  };
  REQUIRE_THAT(failure({"--set", "model.hiden_size=3"}),
               ContainsSubstring("did you mean model.hidden_size?"));
  REQUIRE_THAT(failure({"--set", "training.unroll=1000000", "--set", "training.batch_size=1"}),
               ContainsSubstring("full ones") && ContainsSubstring("data.corpus"));
  REQUIRE_THAT(failure({"--threads", "-1"}),
               ContainsSubstring("--threads: expected a whole number from 0, found '-1'"));
  const ProcessResult unwritable = bench.run({"--json", bench.path("none/out.json")});
  REQUIRE(unwritable.exit_code == 1);
  REQUIRE_THAT(unwritable.err, ContainsSubstring("none/out.json"));
  REQUIRE_THAT(unwritable.out, ContainsSubstring("tokens/s"));  // the measurement is not lost
  REQUIRE(run_process({RONDO_BINARY, "bench"}).err.find("command is required") !=
          std::string::npos);
}

TEST_CASE("bench generate writes what it measured", "[tools][bench]") {
  const TinyBench bench;
  const auto generate = [&](const Words& more) {
    Words words{RONDO_BINARY, "bench", "generate", bench.config()};
    words.insert(words.end(), more.begin(), more.end());
    return run_process(words);
  };
  const ProcessResult result = generate(
      {"--streams", "3", "--tokens", "5", "--vocabulary", "50", "--json", bench.path("out.json")});
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == 0);
  REQUIRE_THAT(result.out, ContainsSubstring("SRU++, 2 layers of 16, projection 4") &&
                               ContainsSubstring("tokens/s") && ContainsSubstring("GB/s"));
  const nlohmann::json json = nlohmann::json::parse(read_bytes(bench.path("out.json")));
  REQUIRE(json.at("command") == "generate");
  REQUIRE(json.at("config") == bench.config());
  REQUIRE(json.at("threads") == 1);
  REQUIRE(json.at("precision") == "f32");
  REQUIRE(json.at("vocabulary") == 50);
  REQUIRE(json.at("streams") == 3);
  REQUIRE(json.at("window") == 16);
  REQUIRE(json.at("prompt_tokens") == 16);
  REQUIRE(json.at("steps") == 5);
  const auto number = [&](const char* key) { return json.at(key).get<double>(); };
  REQUIRE(number("tokens_per_second") * number("seconds_per_token") == Approx(3));
  // All weights but 50 rows of the embedding, of which 3 are read; one layer, 3 texts of 17
  // positions with a key and a value of 4 each.
  REQUIRE(number("weights_bytes_per_step") == 4 * (number("parameters") - 50 * 16 + 3 * 16));
  REQUIRE(number("cache_bytes_per_step") == 4 * 3 * 17 * 2 * 4);
  REQUIRE(1e9 * number("gbytes_per_second") * number("seconds_per_token") ==
          Approx(number("weights_bytes_per_step") + number("cache_bytes_per_step")));
  REQUIRE(number("copy_gbytes_per_second") > 0.0);
  REQUIRE(number("peak_memory_bytes") > number("weights_bytes_per_step"));
  REQUIRE(number("peak_rss_bytes") > 0.0);
  REQUIRE(number("system_allocations") == 0.0);

  REQUIRE_THAT(generate({"--streams", "0"}).err, ContainsSubstring("--streams"));
  REQUIRE_THAT(generate({"--tokens", "0"}).err, ContainsSubstring("--tokens"));
  REQUIRE_THAT(generate({"--window", "0"}).err, ContainsSubstring("--window"));
  const ProcessResult no_config =
      run_process({RONDO_BINARY, "bench", "generate", bench.path("none"), "--set", "run.seed=2"});
  REQUIRE(no_config.exit_code == 1);
  REQUIRE_THAT(no_config.err, ContainsSubstring("--set changes a config"));
}
