#include "tools/format.h"

#include <cmath>
#include <limits>

#include "tests/support/testing.h"

using namespace rondo;

TEST_CASE("counts are short and round before they choose a unit", "[tools][format]") {
  REQUIRE(format_count(0) == "0");
  REQUIRE(format_count(9.4) == "9");
  REQUIRE(format_count(999.4) == "999");
  REQUIRE(format_count(999.5) == "1.0k");
  REQUIRE(format_count(12345) == "12.3k");
  REQUIRE(format_count(999949) == "999.9k");
  REQUIRE(format_count(999950) == "1.0M");
  REQUIRE(format_count(42.1e6) == "42.1M");
  REQUIRE(format_count(1.25e12) == "1250.0B");
  REQUIRE(format_count(-2500) == "-2.5k");
  REQUIRE(format_count(std::nan("")) == "?");
  REQUIRE(format_count(std::numeric_limits<double>::infinity()) == "?");
}

TEST_CASE("bytes are counted in thousands", "[tools][format]") {
  REQUIRE(format_bytes(0) == "0 B");
  REQUIRE(format_bytes(999) == "999 B");
  REQUIRE(format_bytes(12345) == "12.3 kB");
  REQUIRE(format_bytes(42.1e6) == "42.1 MB");
  REQUIRE(format_bytes(999.96e6) == "1.0 GB");
  REQUIRE(format_bytes(std::nan("")) == "?");
}

TEST_CASE("a model is described in a line", "[tools][format]") {
  ModelConfig model;
  model.hidden_size = 320;
  model.num_layers = 4;
  model.projection_size = 80;
  REQUIRE(format_model(model) == "SRU++, 4 layers of 320, projection 80, attention in all");
  model.attention_last_n_layers = 2;
  REQUIRE(format_model(model) == "SRU++, 4 layers of 320, projection 80, attention in 3, 4");
  model.attention_last_n_layers = 0;
  REQUIRE(format_model(model) == "SRU++, 4 layers of 320, projection 80, attention in none");
  model.type = ModelType::sru;
  model.projection_size = 0;
  REQUIRE(format_model(model) == "SRU, 4 layers of 320, no attention");
  model.type = ModelType::lstm;
  REQUIRE(format_model(model) == "LSTM, 4 layers of 320");
  model.inner_size = 1280;
  model.type = ModelType::transformer_xl;
  REQUIRE(format_model(model) == "Transformer-XL, 4 layers of 320, inner 1280");
  model.type = ModelType::sha_lstm;
  model.attention_last_n_layers.reset();
  REQUIRE(format_model(model) == "SHA-LSTM, 4 layers of 320, inner 1280, attention in 3");
}

TEST_CASE("durations show two units at most", "[tools][format]") {
  REQUIRE(format_duration(0) == "0.0s");
  REQUIRE(format_duration(3.21) == "3.2s");
  REQUIRE(format_duration(9.96) == "10s");
  REQUIRE(format_duration(59.4) == "59s");
  REQUIRE(format_duration(59.6) == "1m 00s");
  REQUIRE(format_duration(80) == "1m 20s");
  REQUIRE(format_duration(3599.6) == "1h 00m");
  REQUIRE(format_duration(2 * 3600 + 5 * 60 + 59) == "2h 05m");
  REQUIRE(format_duration(3 * 86400 + 4 * 3600) == "3d 4h");
  REQUIRE_FALSE(format_duration(1e300).empty());
  REQUIRE(format_duration(-1) == "?");
  REQUIRE(format_duration(std::nan("")) == "?");
  REQUIRE(format_duration(std::numeric_limits<double>::infinity()) == "?");
}

TEST_CASE("text is measured and cut in letters, not bytes", "[tools][format]") {
  const std::string text = "a\u2501\u00e9z";
  REQUIRE(columns(text) == 4);
  REQUIRE(truncate_columns(text, 0).empty());
  REQUIRE(truncate_columns(text, 2) == "a\u2501");
  REQUIRE(truncate_columns(text, 3) == "a\u2501\u00e9");
  REQUIRE(truncate_columns(text, 4) == text);
  REQUIRE(truncate_columns(text, 9) == text);
}

TEST_CASE("a word is quoted where a shell would take it apart", "[tools][format]") {
  REQUIRE(shell_quoted("training.steps=50") == "training.steps=50");
  REQUIRE(shell_quoted("runs/my run") == "'runs/my run'");
  REQUIRE(shell_quoted("it's") == "'it'\\''s'");
  REQUIRE(shell_quoted("$HOME") == "'$HOME'");
  REQUIRE(shell_quoted("") == "''");
}
