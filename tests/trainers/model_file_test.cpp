#include "trainers/model_file.h"

#include <cstring>

#include "core/file.h"
#include "tests/support/damage.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;
namespace fs = std::filesystem;

namespace {

using Metadata = std::map<std::string, std::string>;

ModelDescription description() {
  ModelConfig config = tiny_config();
  config.attention_layers = {1, 3};
  config.dropout = 0.1;
  config.highway_bias = -1.0 / 3;  // no short decimal number
  return {config, ByteVocabulary({0, 10, 65, 128, 255}), 48, "corpora/\"a\" \n"};
}

std::unique_ptr<LanguageModel> model_of(const ModelDescription& description) {
  return scrambled_model(description.config, description.vocabulary.size());
}

void write_model(const fs::path& path, const LanguageModel& model, const Metadata& metadata) {
  write_safetensors(path, tensors_of(model.parameters()), metadata);
}

std::string error_of_metadata(const Metadata& metadata) {
  const std::string message =
      error_of([&] { from_metadata(metadata, "folder/model.safetensors"); });
  REQUIRE_THAT(message, ContainsSubstring("folder/model.safetensors"));
  return message;
}

}  // namespace

TEST_CASE("a model's description survives the file", "[trainers][model_file]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "model.safetensors";
  const ModelDescription saved = description();
  const auto model = model_of(saved);
  write_model(path, *model, to_metadata(saved));

  const LoadedModel loaded = load_model(load_checkpoint(path), test_device());
  REQUIRE(loaded.path == path);
  REQUIRE(loaded.description.config == saved.config);
  REQUIRE(loaded.description.vocabulary == saved.vocabulary);
  REQUIRE(loaded.description.window == saved.window);
  REQUIRE(loaded.description.corpus == saved.corpus);

  const Parameters expected = model->parameters();
  const Parameters found = loaded.model->parameters();
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    REQUIRE(found[i].name == expected[i].name);
    REQUIRE(found[i].variable.device() == test_device());
    REQUIRE(same_bits(found[i].variable.value(), expected[i].variable.value()));
    REQUIRE(found[i].variable.requires_grad());
  }
}

TEST_CASE("a loaded model does not depend on its file", "[trainers][model_file]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "model.safetensors";
  const auto model = model_of(description());
  write_model(path, *model, to_metadata(description()));
  LoadedModel loaded = load_model(load_checkpoint(path));
  const std::string bytes = read_bytes(path);
  for (NamedVariable parameter : loaded.model->parameters()) {
    parameter.variable.value().fill(2.0);
  }
  REQUIRE(read_bytes(path) == bytes);
}

TEST_CASE("a model of each type can be described", "[trainers][model_file]") {
  ModelDescription sru = description();
  sru.config = {};
  sru.config.type = ModelType::sru;
  sru.config.activation = Activation::tanh;
  sru.config.has_skip_term = false;
  REQUIRE(from_metadata(to_metadata(sru), "file").config == sru.config);

  // The vocabulary of all bytes.
  std::vector<std::uint8_t> all;
  for (int byte = 0; byte < 256; ++byte) {
    all.push_back(static_cast<std::uint8_t>(byte));
  }
  sru.vocabulary = ByteVocabulary(all);
  REQUIRE(from_metadata(to_metadata(sru), "file").vocabulary.bytes().bytes() == all);
}

TEST_CASE("a safetensors file of somebody else is told apart", "[trainers][model_file]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "foreign.safetensors";
  write_model(path, *model_of(description()), {});
  REQUIRE_THAT(error_of([&] { load_model(load_checkpoint(path)); }),
               ContainsSubstring(path.string()) && ContainsSubstring("has no 'format'") &&
                   ContainsSubstring("not a language model saved by Rondo"));
  REQUIRE_THAT(error_of_metadata({{"format", "pt"}}),
               ContainsSubstring("the format is 'pt'; expected 'rondo-language-model'"));
}

TEST_CASE("metadata of another version is refused", "[trainers][model_file]") {
  Metadata metadata = to_metadata(description());
  metadata["version"] = "2";
  REQUIRE_THAT(error_of_metadata(metadata),
               ContainsSubstring("version 2") && ContainsSubstring("reads version 1"));
}

TEST_CASE("damaged metadata is an error", "[trainers][model_file]") {
  const Metadata whole = to_metadata(description());
  for (const auto& [key, value] : whole) {
    INFO("without " << key);
    Metadata metadata = whole;
    metadata.erase(key);
    if (key == "unit") {  // files from before there were words have bytes
      REQUIRE(from_metadata(metadata, "file").vocabulary == description().vocabulary);
      continue;
    }
    REQUIRE_THAT(error_of_metadata(metadata), ContainsSubstring("has no '" + key + "'"));
  }
  const auto error_with = [&](const std::string& key, const std::string& value) {
    INFO(key << " is " << value);
    Metadata metadata = whole;
    metadata[key] = value;
    return error_of_metadata(metadata);
  };
  for (const char* window : {"", "x", "12x", " 12", "1.5", "0", "-3", "99999999999999999999"}) {
    REQUIRE_THAT(error_with("window", window),
                 ContainsSubstring("damaged") && ContainsSubstring("the window must be"));
  }
  for (const char* vocabulary :
       {"[1, 256]", "[1, 258]", "[-1]", "[1.5]", "[\"a\"]", "{\"a\": []}", "[[1]]"}) {
    REQUIRE_THAT(error_with("vocabulary", vocabulary),
                 ContainsSubstring("damaged") && ContainsSubstring("the vocabulary must be"));
  }
  for (const char* vocabulary : {"", "[", "[]", "[2, 1]", "[1, 1]", "null"}) {
    REQUIRE_THAT(error_with("vocabulary", vocabulary), ContainsSubstring("damaged"));
  }
  REQUIRE_THAT(error_with("vocabulary", std::string(1'000'000, '[') + std::string(1'000'000, ']')),
               ContainsSubstring("damaged"));
  for (const char* model : {"[]", "{", "{\"hidden_size\": \"x\"}", "{\"hidden_size\": 0}",
                            "{\"colour\": 1}", "{\"projection_size\": 0}"}) {
    REQUIRE_THAT(error_with("model", model), ContainsSubstring("metadata"));
  }
}

TEST_CASE("weights of another model are an error", "[trainers][model_file]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "model.safetensors";
  const auto model = model_of(description());
  const auto error_with = [&](const ModelDescription& described) {
    write_model(path, *model, to_metadata(described));
    const std::string message = error_of([&] { load_model(load_checkpoint(path)); });
    REQUIRE_THAT(message, ContainsSubstring(path.string()) && ContainsSubstring("another model"));
    return message;
  };
  ModelDescription other = description();
  other.config.num_layers = 4;
  REQUIRE_THAT(error_with(other), ContainsSubstring("is missing"));
  other = description();
  other.config.hidden_size = 8;
  REQUIRE_THAT(error_with(other), ContainsSubstring("expected [5, 8]"));
  other = description();
  other.vocabulary = ByteVocabulary({1, 2, 3});
  REQUIRE_THAT(error_with(other),
               ContainsSubstring("\"embedding.weight\" has shape [5, 6], expected [3, 6]"));
}

TEST_CASE("metadata does not decide how much memory is taken", "[trainers][model_file]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "model.safetensors";
  for (const char* size : {R"("hidden_size":1000000)", R"("num_layers":1000000000)",
                           R"("hidden_size":4000000000)", R"("hidden_size":9000000000000000000)"}) {
    INFO(size);
    Metadata metadata = to_metadata(description());
    metadata["model"] = fmt::format(R"({{"projection_size":4,{}}})", size);
    write_model(path, *model_of(description()), metadata);
    error_of([&] { load_model(load_checkpoint(path)); });  // not out of memory
  }
}

TEST_CASE("a damaged model file is read or refused, and never crashes", "[trainers][model_file]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "model.safetensors";
  const ModelDescription saved = description();
  write_model(path, *model_of(saved), to_metadata(saved));
  const std::string whole = read_file(path);
  // The header, where everything but the weights stands.
  std::uint64_t header = 0;
  std::memcpy(&header, whole.data(), sizeof(header));
  const std::string weights = whole.substr(8 + header);
  const Damaged result =
      read_damaged(whole.substr(8, header), 5, 1500, [&](const std::string& json) {
        INFO(json);
        const std::uint64_t length = json.size();  // right, so that the header is looked at
        std::string bytes(sizeof(length), '\0');
        std::memcpy(bytes.data(), &length, sizeof(length));
        write_bytes(path, bytes + json + weights);
        load_model(load_checkpoint(path), Device::cpu());
      });
  REQUIRE(result.read > 0);
  REQUIRE(result.refused > result.read);
}
