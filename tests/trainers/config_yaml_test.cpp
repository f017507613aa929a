#include "trainers/config_yaml.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/support/damage.h"
#include "tests/support/testing.h"
#include "trainers/config_fields.h"
#include "trainers/config_validation.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// The smallest valid configuration: the default model is an SRU++, which needs a projection.
const std::string kMinimal = "model:\n  projection_size: 64\n";

Config parse(const std::string& yaml, std::vector<std::string> overrides = {}) {
  return parse_config(yaml, "x.yaml", overrides);
}

std::string error_in(const std::string& yaml, std::vector<std::string> overrides = {}) {
  return error_of([&] { parse(yaml, overrides); });
}

// The error of one line more below kMinimal's section "model", which is line 3.
std::string model_error(const std::string& line) { return error_in(kMinimal + "  " + line + "\n"); }

// Every member away from its default, each within its limits, and valid together.
Config unusual_config() {
  Config c;
  c.run = {
      .folder = "runs/a b: #1", .seed = 18446744073709551615U, .device = "cuda:3", .threads = 2};
  c.data.corpus = "data/enwik8";
  c.model.hidden_size = 96;
  c.model.num_layers = 7;
  c.model.projection_size = 24;
  c.model.num_heads = 3;
  c.model.attention_layers = {{2, 7}};
  c.model.dropout = 0.1;
  c.model.attention_dropout = 1.0 / 3.0;
  c.model.highway_bias = -0.0;
  c.model.weight_c_init = 5e-324;
  c.model.rescale = true;
  c.model.layer_norm = LayerNormPlace::pre;
  c.model.attention_layer_norm = false;
  c.model.attention_normalize_after = false;
  c.model.embedding_init = EmbeddingInit::vocabulary;
  c.model.softmax = SoftmaxType::adaptive;
  c.model.cutoffs = {{20, 300}};
  c.model.embedding_size = 48;
  c.model.div_val = 2;
  c.model.tie_projections = false;
  c.model.embedding_dropout = 0.3;
  c.training = {.steps = std::numeric_limits<std::int64_t>::max(),
                .batch_size = 3,
                .unroll = 5,
                .accumulation_steps = 7,
                .clip_grad_norm = 0.7,
                .precision = Precision::f16,
                .loss_scale = 1024};
  c.optimizer = {.type = OptimizerType::sgd,
                 .lr = 2.5e-4,
                 .beta1 = 0.1,
                 .beta2 = 0.99,
                 .eps = 1e-300,
                 .weight_decay = 1.7976931348623157e308,
                 .momentum = 0.9};
  c.schedule = {.type = ScheduleType::constant,
                .warmup_steps = 11,
                .warmup_from_zero = true,
                .total_steps = 13};
  c.evaluation = {.every = 0, .unroll = 9, .batch_size = 4, .max_tokens = 77, .test_at_end = false};
  c.checkpoint.every = 0;
  c.logging = {.every = 3, .tensorboard = false};
  c.sample = {.length = 1, .temperature = 0.1 + 0.2, .prompt = "\t\"\\é\n null\x01\x7f'"};
  return c;
}

}  // namespace

TEST_CASE("a configuration is read, with defaults for what it leaves out", "[config][cpu]") {
  const Config config = parse(R"(
model:
  type: srupp
  projection_size: 64
  num_layers: 12
  attention_layers: [7, 10]
  layer_norm: post
  rescale: true
training: {steps: 100, clip_grad_norm: 2}
optimizer:
  lr: 1e-3
sample:
  prompt: "\n"
)");
  Config expected;
  expected.model.projection_size = 64;
  expected.model.num_layers = 12;
  expected.model.attention_layers = {{7, 10}};
  expected.model.layer_norm = LayerNormPlace::post;
  expected.model.rescale = true;
  expected.training.steps = 100;
  expected.training.clip_grad_norm = 2;
  expected.optimizer.lr = 1e-3;
  REQUIRE(config == expected);
}

TEST_CASE("overrides come last, in order, and read their values as YAML", "[config][cpu]") {
  const Config config =
      parse(kMinimal, {"model.attention_layers=[7, 10]", "optimizer.lr=1", "optimizer.lr=1e-3",
                       "sample.prompt=\"a=b\"", "optimizer.type=adamw"});
  REQUIRE(config.model.attention_layers == std::vector<std::int64_t>{7, 10});
  REQUIRE(config.optimizer.lr == 1e-3);
  REQUIRE(config.sample.prompt == "a=b");
  REQUIRE(config.optimizer.type == OptimizerType::adamw);
  REQUIRE_FALSE(parse(kMinimal, {"model.attention_layers=[1]", "model.attention_layers=null"})
                    .model.attention_layers.has_value());
}

TEST_CASE("a bad override is reported as it was written", "[config][cpu]") {
  REQUIRE(error_in(kMinimal, {"optimizer.lr=many"}) ==
          "--set optimizer.lr=many: optimizer.lr: expected a number above 0, found 'many'");
  REQUIRE(error_in(kMinimal, {"optimizer.lrr=1"}) ==
          "--set optimizer.lrr=1: optimizer.lrr is not a setting; did you mean optimizer.lr?");
  REQUIRE(error_in(kMinimal, {"optimizer.lr"}) ==
          "--set optimizer.lr: expected section.key=value, as in --set optimizer.lr=1e-3");
  REQUIRE_THAT(error_in(kMinimal, {"lr=1"}), ContainsSubstring("did you mean optimizer.lr?"));
  REQUIRE_THAT(error_in(kMinimal, {"data=1"}),
               ContainsSubstring("data is not a setting; data has corpus"));
  REQUIRE_THAT(error_in(kMinimal, {"data.corpus="}), ContainsSubstring("found nothing"));
  REQUIRE_THAT(error_in(kMinimal, {"model.attention_layers=[1"}),
               ContainsSubstring("--set model.attention_layers=[1: expected YAML"));
  REQUIRE_THAT(error_in(kMinimal, {"model.num_heads=5"}),
               ContainsSubstring("--set model.num_heads=5: model.num_heads: expected a divisor"));
}

TEST_CASE("an unknown key is named with its line and the nearest setting", "[config][cpu]") {
  REQUIRE(model_error("hiden_size: 5") ==
          "x.yaml:3: model.hiden_size is not a setting; did you mean model.hidden_size?");
  REQUIRE(error_in("# comment\nhidden_size: 5\n") ==
          "x.yaml:2: hidden_size is not a setting; did you mean model.hidden_size?");
  REQUIRE(model_error("lr: 5") ==
          "x.yaml:3: model.lr is not a setting; did you mean optimizer.lr?");
  REQUIRE(error_in("trainig:\n  steps: 5\n") ==
          "x.yaml:1: trainig is not a setting; did you mean training?");
  REQUIRE(error_in("batch_size: 5\n") ==
          "x.yaml:1: batch_size is not a setting; did you mean training.batch_size or "
          "evaluation.batch_size?");
  REQUIRE(error_in("data:\n  xylophone: 5\n") ==
          "x.yaml:2: data.xylophone is not a setting; data has corpus");
  REQUIRE_THAT(error_in("xylophone: 5\n"), ContainsSubstring("the sections are run, data, model"));
}

TEST_CASE("a value of the wrong type or range says what was expected and found", "[config][cpu]") {
  const auto [line, expected, found] = GENERATE(table<std::string, std::string, std::string>({
      {"num_layers: many", "a whole number from 1 to 10000", "'many'"},
      {"num_layers: 0", "a whole number from 1 to 10000", "'0'"},
      {"num_layers: -3", "a whole number from 1 to 10000", "'-3'"},
      {"num_layers: 1e3", "a whole number from 1 to 10000", "'1e3'"},
      {"num_layers: 2.0", "a whole number from 1 to 10000", "'2.0'"},
      {"num_layers: 1_000", "a whole number from 1 to 10000", "'1_000'"},
      {"num_layers: 010", "a whole number from 1 to 10000", "'010'"},
      {"num_layers: 0x10", "a whole number from 1 to 10000", "'0x10'"},
      {"num_layers: 9223372036854775808", "a whole number from 1 to 10000",
       "'9223372036854775808'"},
      {"num_layers: \"4\"", "a whole number from 1 to 10000", "the text \"4\""},
      {"num_layers:", "a whole number from 1 to 10000", "nothing"},
      {"num_layers: null", "a whole number from 1 to 10000", "nothing"},
      {"num_layers: [4]", "a whole number from 1 to 10000", "a list"},
      {"num_layers: {a: 4}", "a whole number from 1 to 10000", "a map"},
      {"num_layers: true", "a whole number from 1 to 10000", "'true'"},
      {"dropout: 1", "a number from 0 to below 1", "'1'"},
      {"dropout: -0.1", "a number from 0 to below 1", "'-0.1'"},
      {"dropout: .nan", "a number from 0 to below 1", "'.nan'"},
      {"dropout: nan", "a number from 0 to below 1", "'nan'"},
      {"dropout: 0.1x", "a number from 0 to below 1", "'0.1x'"},
      {"dropout: \"0.1\"", "a number from 0 to below 1", "the text \"0.1\""},
      {"highway_bias: -.inf", "a number", "'-.inf'"},
      {"highway_bias: inf", "a number", "'inf'"},
      {"highway_bias: 1e999", "a number", "'1e999'"},
      {"rescale: yes", "true or false", "'yes'"},
      {"rescale: True", "true or false", "'True'"},
      {"rescale: 1", "true or false", "'1'"},
      {"rescale: \"true\"", "true or false", "the text \"true\""},
      {"type: gru", "one of sru, srupp, lstm, sha_lstm, transformer, transformer_xl", "'gru'"},
      {"type: [sru]", "one of sru, srupp, lstm, sha_lstm, transformer, transformer_xl", "a list"},
      {"attention_every_n_layers: 0", "a whole number from 1, or null", "'0'"},
      {"attention_every_n_layers: all", "a whole number from 1, or null", "'all'"},
      {"attention_layers: 3", "a list of whole numbers from 1, or null", "'3'"},
      {"attention_layers: [1, x]", "a list of whole numbers from 1, or null", "a list"},
      {"attention_layers: [0]", "a list of whole numbers from 1, or null", "a list"},
  }));
  const std::string key = line.substr(0, line.find(':'));
  REQUIRE(model_error(line) ==
          "x.yaml:3: model." + key + ": expected " + expected + ", found " + found);
}

TEST_CASE("numbers in every proper spelling are read", "[config][cpu]") {
  REQUIRE(parse(kMinimal, {"optimizer.lr=2.5e-4"}).optimizer.lr == 2.5e-4);
  REQUIRE(parse(kMinimal, {"optimizer.lr=1E+1"}).optimizer.lr == 10);
  REQUIRE(parse(kMinimal, {"optimizer.lr=3"}).optimizer.lr == 3);
  REQUIRE(parse(kMinimal, {"optimizer.lr=.5"}).optimizer.lr == 0.5);
  REQUIRE(parse(kMinimal, {"run.seed=18446744073709551615"}).run.seed == 18446744073709551615U);
  REQUIRE(parse(kMinimal, {"run.seed=0"}).run.seed == 0);
  REQUIRE_THAT(error_in(kMinimal, {"run.seed=-1"}), ContainsSubstring("a whole number from 0"));
}

TEST_CASE("text that is long or has line ends stays on one line of a message", "[config][cpu]") {
  const std::string message = model_error("num_layers: \"a\\nb" + std::string(1000, 'c') + "\"");
  REQUIRE(message.find('\n') == std::string::npos);
  REQUIRE_THAT(message, ContainsSubstring("found the text \"a bccc"));
  REQUIRE_THAT(message, ContainsSubstring("...\""));
  REQUIRE(message.size() < 200);
}

TEST_CASE("a repeated key is an error", "[config][cpu]") {
  REQUIRE(model_error("projection_size: 64") ==
          "x.yaml:3: model.projection_size is given twice, first at x.yaml:2; remove one");
  REQUIRE(error_in(kMinimal + "training: {steps: 1}\nmodel: {rescale: true}\n") ==
          "x.yaml:4: model is given twice, first at x.yaml:1; remove one");
}

TEST_CASE("text that is not a configuration is an error with its line", "[config][cpu]") {
  REQUIRE_THAT(error_in(""), ContainsSubstring("x.yaml: the file is empty"));
  REQUIRE_THAT(error_in("# only a comment\n"), ContainsSubstring("x.yaml: the file is empty"));
  REQUIRE_THAT(error_in("- a\n- b\n"), ContainsSubstring("x.yaml:1: expected sections such as"));
  REQUIRE_THAT(error_in("hello"), ContainsSubstring("found 'hello'"));
  REQUIRE_THAT(error_in(kMinimal + "training: [1\n"), ContainsSubstring("x.yaml:3: expected YAML"));
  REQUIRE_THAT(error_in("model: {projection_size: 64"), ContainsSubstring("expected YAML"));
  for (const char* open : {"data:\n  corpus: \"a", "data:\n  corpus: \"a\n",
                           "data:\n  corpus: 'a\n", "data:\n  {corpus: a\n"}) {
    REQUIRE(error_in(open) ==
            "x.yaml:2: expected YAML, but it ends inside open quotes or brackets");
  }
  REQUIRE(parse(kMinimal + "...\n") == parse(kMinimal));
  REQUIRE_THAT(error_in("model:\n\tnum_layers: 4\n"), ContainsSubstring("expected YAML"));
  REQUIRE_THAT(error_in(std::string(100000, '[')), ContainsSubstring("x.yaml:1: expected YAML"));
  REQUIRE_THAT(error_in("model: *unknown\n"), ContainsSubstring("x.yaml:1: expected YAML"));
  for (const char* start :
       {",", ", a: 1", "]", "}\n", "? ]"}) {  // yaml-cpp would not get past them
    INFO(start);
    REQUIRE_THAT(error_in(start), ContainsSubstring("x.yaml:1: expected YAML"));
  }
  REQUIRE_THAT(error_in(kMinimal + "---\n" + kMinimal),
               ContainsSubstring("expected one YAML document, found a second one"));
  REQUIRE(error_in(kMinimal + "training:\n") ==
          "x.yaml:3: training: expected a map of settings, found nothing");
  REQUIRE_THAT(error_in("[a]: 3\n"),
               ContainsSubstring("x.yaml:1: expected the name of a setting, found a list"));
}

TEST_CASE("settings of the softmax that contradict each other are reported", "[config][cpu]") {
  const std::string adaptive = "softmax: adaptive\n  ";
  REQUIRE(parse(kMinimal + "  " + adaptive + "cutoffs: [20, 40]\n").model.cutoffs ==
          std::vector<std::int64_t>{20, 40});
  REQUIRE_THAT(model_error(adaptive + "div_val: 2"),
               ContainsSubstring("model.cutoffs: expected the first id of every cluster but the "
                                 "first, for model.softmax is adaptive") &&
                   ContainsSubstring("found none"));
  REQUIRE_THAT(model_error(adaptive + "cutoffs: []"), ContainsSubstring("found none"));
  REQUIRE(model_error(adaptive + "cutoffs: [40, 20]") ==
          "x.yaml:4: model.cutoffs: expected each id once and in increasing order, found 20 after "
          "40");
  REQUIRE_THAT(model_error(adaptive + "cutoffs: [20, 20]"), ContainsSubstring("found 20 after 20"));
  REQUIRE(model_error(adaptive + "cutoffs: [20]\n  tie_weights: true") ==
          "x.yaml:5: model.tie_weights: the rows of an adaptive softmax are always those of its "
          "embedding; remove it");
  REQUIRE(parse(kMinimal + "  tie_weights: true\n").model.tie_weights);
  for (const std::string line : {"cutoffs: [20]", "embedding_size: 8", "div_val: 2",
                                 "tie_projections: false", "embedding_dropout: 0.1"}) {
    REQUIRE(model_error(line) ==
            fmt::format("x.yaml:3: model.{}: only an adaptive softmax has this setting; remove it "
                        "or set model.softmax: adaptive",
                        line.substr(0, line.find(':'))));
  }
}

TEST_CASE("settings that contradict each other are reported where they stand", "[config][cpu]") {
  REQUIRE_THAT(error_in("training:\n  steps: 5\n"),
               ContainsSubstring("x.yaml: model.projection_size: expected a whole number from 1, "
                                 "for model.type is srupp; found 0"));
  REQUIRE(model_error("num_heads: 5") ==
          "x.yaml:3: model.num_heads: expected a divisor of model.projection_size (64), found 5");
  REQUIRE_THAT(
      model_error("attention_layers: []\n  attention_last_n_layers: 1"),
      ContainsSubstring("x.yaml:3: model.attention_layers: expected at most one way to choose the "
                        "layers that attend, found x.yaml:4: model.attention_last_n_layers"));
  REQUIRE_THAT(model_error("attention_every_n_layers: 11"),
               ContainsSubstring("expected at most model.num_layers (10), found 11"));
  REQUIRE_THAT(model_error("attention_last_n_layers: 11"),
               ContainsSubstring("expected at most model.num_layers (10), found 11"));
  REQUIRE_THAT(model_error("attention_layers: [3, 11]"),
               ContainsSubstring("expected layers from 1 to model.num_layers (10), found 11"));
  REQUIRE_THAT(model_error("attention_layers: [7, 3]"), ContainsSubstring("found 3 after 7"));
  REQUIRE_THAT(model_error("attention_layers: [7, 7]"), ContainsSubstring("found 7 after 7"));
  REQUIRE_THAT(model_error("activation: tanh"),
               ContainsSubstring("x.yaml:3: model.activation: only a model of type sru has this "
                                 "setting, and model.type is srupp"));
  REQUIRE_THAT(model_error("has_skip_term: false"), ContainsSubstring("only a model of type sru"));
  for (const char* line : {"num_heads: 2", "attention_dropout: 0.1"}) {
    REQUIRE_THAT(model_error(std::string(line) + "\n  type: sru"),
                 ContainsSubstring("only a model of type srupp, sha_lstm, transformer or "
                                   "transformer_xl has this setting"));
  }
  for (const char* line :
       {"attention_every_n_layers: 1", "attention_last_n_layers: 0", "attention_layers: []"}) {
    REQUIRE_THAT(model_error(std::string(line) + "\n  type: sru"),
                 ContainsSubstring("only a model of type srupp or sha_lstm has this setting"));
  }
  const std::string transformer = "model:\n  type: transformer\n  hidden_size: 6\n";
  REQUIRE_THAT(error_in(transformer),
               ContainsSubstring("model.inner_size: expected a whole number from 1, for model.type "
                                 "is transformer; found 0"));
  REQUIRE_THAT(error_in(transformer + "  inner_size: 8\n  num_heads: 4\n"),
               ContainsSubstring("x.yaml:5: model.num_heads: expected a divisor of "
                                 "model.hidden_size (6), found 4; or set model.head_size"));
  REQUIRE_NOTHROW(parse(transformer + "  inner_size: 8\n  num_heads: 4\n  head_size: 5\n"));
  const std::string longer =
      "  inner_size: 8\ntraining:\n  unroll: 16\nevaluation:\n  unroll: 17\n";
  REQUIRE_THAT(error_in(transformer + longer),
               ContainsSubstring("x.yaml:8: evaluation.unroll: expected at most training.unroll "
                                 "(16), for model.type transformer numbers its positions; found "
                                 "17"));
  REQUIRE_NOTHROW(parse("model:\n  type: transformer_xl\n" + longer));
  REQUIRE_THAT(model_error("attention_layer_norm: false\n  type: sru"),
               ContainsSubstring("only a model of type srupp has this setting"));
  for (const char* line :
       {"highway_bias: 1", "weight_c_init: 0.5", "rescale: true", "layer_norm: pre"}) {
    REQUIRE_THAT(error_in(std::string("model:\n  type: lstm\n  ") + line + "\n"),
                 ContainsSubstring("x.yaml:3: model.") &&
                     ContainsSubstring("only a model of type sru or srupp has this setting, and "
                                       "model.type is lstm"));
  }
  const auto sha_lstm_error = [](const std::string& lines) {
    return error_in("model:\n  type: sha_lstm\n  hidden_size: 8\n" + lines);
  };
  REQUIRE_THAT(sha_lstm_error(""),
               ContainsSubstring("x.yaml: model.inner_size: expected a multiple of "
                                 "model.hidden_size (8), for model.type is sha_lstm; found 0"));
  REQUIRE_THAT(sha_lstm_error("  inner_size: 12\n"),
               ContainsSubstring("x.yaml:4: model.inner_size"));
  REQUIRE_THAT(sha_lstm_error("  inner_size: 16\n  num_heads: 3\n"),
               ContainsSubstring("expected a divisor of model.hidden_size (8), found 3"));
  REQUIRE_THAT(sha_lstm_error("  inner_size: 16\n  attention_layers: [11]\n"),
               ContainsSubstring("expected layers from 1 to model.num_layers (10), found 11"));
  REQUIRE_THAT(model_error("type: lstm"), ContainsSubstring("x.yaml:2: model.projection_size"));
  REQUIRE(error_in(kMinimal + "schedule:\n  warmup_steps: 9\ntraining:\n  steps: 8\n") ==
          "x.yaml:4: schedule.warmup_steps: expected at most all 8 steps, found 9");
  REQUIRE_THAT(error_in(kMinimal + "schedule: {total_steps: 7}\ntraining: {steps: 8}\n"),
               ContainsSubstring("expected 0 or at least training.steps (8), found 7"));
  REQUIRE_THAT(error_in(kMinimal + "run:\n  device: gpu\n"),
               ContainsSubstring("x.yaml:4: run.device: device 'gpu' is not known; expected cpu"));
  REQUIRE_THAT(error_in(kMinimal, {"run.device=meta"}), ContainsSubstring("found meta"));
  for (const char* precision : {"tf32", "f16"}) {
    const std::string error = error_in(kMinimal + "training:\n  precision: " + precision + "\n");
    REQUIRE_THAT(error,
                 ContainsSubstring("x.yaml:4: training.precision: " + std::string(precision)) &&
                     ContainsSubstring("run.device is cpu"));
  }
  REQUIRE_THAT(error_in(kMinimal, {"training.loss_scale=8"}),
               ContainsSubstring("training.loss_scale: only training.precision: f16"));
  REQUIRE_THAT(
      error_in(kMinimal, {"run.device=cuda", "training.precision=f16", "training.loss_scale=0.5"}),
      ContainsSubstring("training.loss_scale: expected a number from 1"));
  REQUIRE_THAT(error_in(kMinimal, {"optimizer.momentum=0.9"}), ContainsSubstring("only sgd"));
  REQUIRE_THAT(error_in(kMinimal, {"sample.prompt=''"}), ContainsSubstring("found empty text"));
  REQUIRE_THAT(error_in(kMinimal, {"data.corpus=''"}), ContainsSubstring("found empty text"));
}

TEST_CASE("what a type does not have may stand at its default", "[config][cpu]") {
  const Config config = parse("model: {type: sru, num_heads: 1, activation: tanh}\n");
  REQUIRE(config.model.type == ModelType::sru);
  REQUIRE(parse(dump_config(config)) == config);
  const Config lstm = parse("model: {type: lstm, projection_size: 0, highway_bias: -2}\n");
  REQUIRE(lstm.model.type == ModelType::lstm);
  REQUIRE(parse(dump_config(lstm)) == lstm);
}

TEST_CASE("a configuration made in C++ is checked too", "[config][cpu]") {
  Config config;
  config.model.projection_size = 64;
  REQUIRE_NOTHROW(validate(config));
  config.optimizer.lr = std::nan("");
  REQUIRE_THAT(error_of([&] { validate(config); }),
               ContainsSubstring("optimizer.lr: expected a number above 0"));
  config.optimizer.lr = 1;
  config.model.highway_bias = std::numeric_limits<double>::infinity();
  REQUIRE_THAT(error_of([&] { validate(config.model); }),
               ContainsSubstring("model.highway_bias: expected a number"));
  config.model.highway_bias = 0;
  config.model.num_layers = 0;
  REQUIRE(error_of([&] { validate(config); }) ==
          "model.num_layers: expected a whole number from 1 to 10000, found 0");
}

TEST_CASE("a dumped configuration reads back equal, to the last bit", "[config][cpu]") {
  const Config config = unusual_config();
  const Config again = parse(dump_config(config));
  REQUIRE(again == config);
  REQUIRE(std::signbit(again.model.highway_bias));
  REQUIRE(parse(dump_config(parse(kMinimal))) == parse(kMinimal));

  Generator generator(1);
  const Tensor values = random_tensor({200}, DType::f64, generator, 0.0, 1.0);
  for (const double value : values.values<double>()) {
    Config random = parse(kMinimal);
    random.model.dropout = value;
    random.optimizer.lr = value * 1e-9 + 1e-30;
    REQUIRE(parse(dump_config(random)) == random);
  }
}

TEST_CASE("the dump and the help have every setting", "[config][cpu]") {
  Config config = unusual_config();
  const std::string dump = dump_config(config);
  const std::string help = describe_settings();
  for (const Section& section : list_settings(config)) {
    for (const Field& field : section.fields) {
      REQUIRE_THAT(dump, ContainsSubstring(fmt::format("  {}: ", field.key)));
      REQUIRE_THAT(help, ContainsSubstring(fmt::format("  {} ", field.key)));
      REQUIRE_THAT(help, ContainsSubstring(std::string(field.meaning)));
    }
  }
  config.sample.prompt = "\xff";
  REQUIRE_THAT(error_of([&] { dump_config(config); }), ContainsSubstring("prompt is not UTF-8"));
}

TEST_CASE("a model's settings pass through JSON", "[config][cpu]") {
  const ModelConfig model = unusual_config().model;
  const std::string json = model_config_to_json(model);
  REQUIRE(nlohmann::json::parse(json)["attention_layers"] == nlohmann::json({2, 7}));
  REQUIRE(model_config_from_json(json, "m.safetensors") == model);

  const auto error = [](const std::string& text) {
    return error_of([&] { model_config_from_json(text, "m.safetensors"); });
  };
  REQUIRE_THAT(error(json.substr(0, json.size() - 1)), ContainsSubstring("m.safetensors:1"));
  REQUIRE_THAT(error(""), ContainsSubstring("m.safetensors: model: expected a map of settings"));
  REQUIRE_THAT(error("[1]"), ContainsSubstring("expected a map of settings, found a list"));
  REQUIRE_THAT(error("{\"projection_size\": 8, \"hidden\": 5}"),
               ContainsSubstring("m.safetensors:1: model.hidden is not a setting; model has type"));
  REQUIRE_THAT(error("{\"projection_size\": \"8\"}"), ContainsSubstring("found the text \"8\""));
  REQUIRE_THAT(error("{\"projection_size\": 8, \"num_heads\": 3}"),
               ContainsSubstring("expected a divisor of model.projection_size (8), found 3"));
}

TEST_CASE("a damaged configuration is read or refused, and never crashes", "[config][cpu]") {
  Config config;
  config.model.projection_size = 4;
  config.model.attention_layers = {1, 3};
  const Damaged result = read_damaged(dump_config(config), 1, 2000, [](const std::string& yaml) {
    INFO(yaml);
    try {
      parse_config(yaml, "damaged.yaml");
    } catch (const Error& problem) {
      REQUIRE_THAT(problem.what(), ContainsSubstring("damaged.yaml"));
      throw;
    }
  });
  REQUIRE(result.read > 0);
  REQUIRE(result.refused > result.read);
}

TEST_CASE("RAdam that would never move a weight is refused", "[config][cpu]") {
  Config config;
  config.model.projection_size = 4;
  config.optimizer.beta2 = 0.6;
  REQUIRE_THAT(error_of([&] { validate(config); }),
               ContainsSubstring("optimizer.beta2: expected more than 2/3"));
  config.optimizer.type = OptimizerType::adam;
  REQUIRE_NOTHROW(validate(config));
}
