// The program itself, from the command line to its exit code.
#include <csignal>
#include <filesystem>
#include <regex>

#include "core/safetensors.h"
#include "tests/support/program.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("every command explains itself with examples", "[tools][cli]") {
  const std::string help = output_of({"--help"});
  for (const char* command :
       {"train", "sweep", "eval", "report", "generate", "bench", "prepare", "info", "settings"}) {
    REQUIRE_THAT(help, ContainsSubstring(command));
    REQUIRE_THAT(
        output_of({command, "--help"}),
        ContainsSubstring("Example") && ContainsSubstring(fmt::format("\n  rondo {}", command)));
  }
  for (const char* corpus : {"text", "enwik8"}) {
    REQUIRE_THAT(output_of({"prepare", corpus, "--help"}),
                 ContainsSubstring("Example") &&
                     ContainsSubstring(fmt::format("\n  rondo prepare {}", corpus)));
  }
  REQUIRE_THAT(output_of({"bench", "train", "--help"}),
               ContainsSubstring("Example") && ContainsSubstring("\n  rondo bench train"));
  REQUIRE_THAT(output_of({"--version"}), ContainsSubstring("rondo "));
  REQUIRE_THAT(output_of({"settings"}), ContainsSubstring("hidden_size"));
}

TEST_CASE("a command that is not there is named", "[tools][cli]") {
  REQUIRE_THAT(failure_of({"trian", "x.yaml"}, kUnexpected), ContainsSubstring("trian"));
  REQUIRE_THAT(failure_of({"prepare", "txt"}, kUnexpected), ContainsSubstring("txt"));
  REQUIRE_THAT(failure_of({}, kRequired), ContainsSubstring("command is required"));
  REQUIRE_THAT(failure_of({"prepare"}, kRequired), ContainsSubstring("command is required"));
  REQUIRE_THAT(failure_of({"train"}, kRequired), ContainsSubstring("config"));
}

TEST_CASE("options that do not fit are explained", "[tools][cli]") {
  REQUIRE_THAT(failure_of({"eval", "run", "--device", "tpu"}),
               ContainsSubstring("device 'tpu' is not known"));
  REQUIRE_THAT(failure_of({"eval", "run", "--device", "cuda:99"}),
               ContainsSubstring("device cuda:99 was asked for, but"));
  REQUIRE_THAT(failure_of({"eval", "run", "--split", "all"}, kInvalid),
               ContainsSubstring("--split") && ContainsSubstring("train,dev,test"));
  REQUIRE_THAT(failure_of({"eval", "run", "--window", "-3"}, kInvalid),
               ContainsSubstring("--window: expected a whole number from 0, found '-3'"));
  REQUIRE_THAT(failure_of({"eval", "run", "--window", "64,few"}, kInvalid),
               ContainsSubstring("--window: expected a whole number from 0, found 'few'"));
  REQUIRE_THAT(failure_of({"eval", "run", "--batch-size", "0"}, kInvalid),
               ContainsSubstring("--batch-size: expected a whole number from 1, found '0'"));
  REQUIRE_THAT(failure_of({"generate", "run", "--length", "99999999999999999999"}, kInvalid),
               ContainsSubstring("--length: expected a whole number from 0"));
  REQUIRE_THAT(failure_of({"generate", "run", "--samples", "0"}, kInvalid),
               ContainsSubstring("--samples"));
  REQUIRE_THAT(failure_of({"generate", "run", "--temperature", "-1"}, kInvalid),
               ContainsSubstring("--temperature"));
}

TEST_CASE("a text is prepared, learnt, measured, continued and described", "[tools][cli]") {
  const Workplace place;
  const std::string trained = output_of({"train", place.config()});
  REQUIRE_THAT(trained, ContainsSubstring("SRU++, 2 layers of 16") &&
                            ContainsSubstring("step 8/8") &&
                            ContainsSubstring("(best so far), saved") &&
                            ContainsSubstring("Done") && ContainsSubstring("A sample"));
  for (const char* file : {"config.yaml", "metrics.jsonl", "learning_curve.svg", "tensorboard",
                           "checkpoints/last/model.safetensors", "checkpoints/best/state.json"}) {
    INFO(file);
    REQUIRE(std::filesystem::exists(place.folder / "run" / file));
  }

  // What training measured at its end is what `eval` measures afterwards.
  const std::string run = place.path("run");
  const auto bpc = [](const std::string& text, const std::string& pattern) {
    std::smatch found;
    INFO(text);
    REQUIRE(std::regex_search(text, found, std::regex(pattern)));
    return std::stod(found[1]);
  };
  for (const std::string split : {"dev", "test"}) {
    const std::string measured = output_of({"eval", run, "--split", split, "--threads", "1"});
    REQUIRE_THAT(measured, ContainsSubstring("over 299 bytes, window 16, batch 1"));
    REQUIRE(bpc(measured, split + " of .*: ([0-9.]+) BPC") ==
            Approx(bpc(trained, split + "[^\n]* ([0-9.]+) BPC\n[^]*  checkpoints")).margin(6e-4));
  }

  // A window a row; the first is the one above.
  const std::string windows = output_of({"eval", run, "--window", "16,4", "--threads", "1"});
  REQUIRE_THAT(windows, ContainsSubstring("299 bytes, batch 1\n  window        result"));
  const auto figure = [&](const std::string& window) {
    return bpc(windows, "\n +" + window + " +([0-9.]+) BPC ");
  };
  REQUIRE(figure("16") ==
          Approx(bpc(output_of({"eval", run, "--threads", "1"}), ": ([0-9.]+) BPC")));
  REQUIRE(figure("4") == Approx(bpc(output_of({"eval", run, "--window", "4", "--threads", "1"}),
                                    ": ([0-9.]+) BPC")));

  const Words generate{"generate", run,      "--prompt", "line",      "--length",
                       "30",       "--seed", "3",        "--threads", "1"};
  const std::string text = output_of(generate);
  REQUIRE(text.starts_with("line"));
  REQUIRE(text.size() == 4 + 30 + 1);
  REQUIRE(output_of(generate) == text);
  const std::string samples = output_of({"generate", run, "--prompt", "line", "--length", "30",
                                         "--seed", "3", "--threads", "1", "--samples", "2"});
  REQUIRE(samples.starts_with("--- sample 1 of 2 ---\n" + text + "--- sample 2 of 2 ---\nline"));
  REQUIRE(samples.size() == 2 * (22 + text.size()));

  REQUIRE_THAT(output_of({"info", run}),
               ContainsSubstring("\"hidden_size\": 16") && ContainsSubstring("rnn.layers.1") &&
                   ContainsSubstring("window       16") && ContainsSubstring("step        8"));
  REQUIRE_THAT(output_of({"info", place.config(), "--set", "model.hidden_size=24"}),
               ContainsSubstring("\"hidden_size\": 24") && ContainsSubstring("vocabulary   205"));
  const std::vector<std::string> of_another = {"info", place.config(), "--set",
                                               "published.vocabulary=77"};
  REQUIRE_THAT(output_of(of_another), ContainsSubstring("vocabulary   77"));
  std::vector<std::string> of_a_third = of_another;
  of_a_third.insert(of_a_third.end(), {"--vocabulary", "50"});
  REQUIRE_THAT(output_of(of_a_third), ContainsSubstring("vocabulary   50"));
  REQUIRE_THAT(failure_of({"info", run, "--set", "model.hidden_size=24"}),
               ContainsSubstring("--set changes a config"));

  // The model file by itself, and a run that is already there.
  std::filesystem::copy(place.folder / "run/checkpoints/best/model.safetensors",
                        place.folder / "model.safetensors");
  REQUIRE_THAT(output_of({"eval", place.path("model.safetensors"), "--threads", "1"}),
               ContainsSubstring("test of "));
  REQUIRE_THAT(output_of({"info", place.path("model.safetensors")}),
               ContainsSubstring("weights only"));
  REQUIRE_THAT(failure_of({"train", place.config()}),
               ContainsSubstring(run) && ContainsSubstring("--resume"));
}

TEST_CASE("mistakes in a config are named with their place", "[tools][cli]") {
  const TemporaryFolder folder;
  const std::string config = (folder / "a.yaml").string();
  const auto failure = [&](std::string_view yaml) {
    write_bytes(config, yaml);
    return failure_of({"train", config});
  };
  REQUIRE_THAT(failure("model:\n  hidden_size: [16\n"), ContainsSubstring("a.yaml:2: "));
  REQUIRE_THAT(failure("model:\n\thidden_size: 16\n"), ContainsSubstring("a.yaml:2: "));
  REQUIRE_THAT(
      failure("model:\n  hiden_size: 16\n"),
      ContainsSubstring("a.yaml:2: ") && ContainsSubstring("did you mean model.hidden_size?"));
  REQUIRE_THAT(failure(""), ContainsSubstring("a.yaml: the file is empty"));
  REQUIRE_THAT(failure_of({"train", (folder / "none.yaml").string()}),
               ContainsSubstring("none.yaml") && ContainsSubstring("check the path"));

  write_bytes(config, "model: {projection_size: 4}\n");
  const auto set = [&](const std::string& setting) {
    return failure_of({"train", config, "--set", setting});
  };
  REQUIRE_THAT(set("training.steps"), ContainsSubstring("section.key=value"));
  REQUIRE_THAT(set("training.stepz=3"), ContainsSubstring("did you mean training.steps?"));
  REQUIRE_THAT(set("training.steps=few"),
               ContainsSubstring("training.steps: expected a whole number from 1, found 'few'"));
  REQUIRE_THAT(set("data.corpus=" + (folder / "none").string()),
               ContainsSubstring("rondo prepare"));
  REQUIRE_THAT(set("training.unroll=10000000"), ContainsSubstring("unroll"));
  REQUIRE_THAT(set("run.device=cuda:99"),
               ContainsSubstring("run.device: device cuda:99 was asked for, but"));
  REQUIRE_THAT(set("training.precision=f16"),
               ContainsSubstring("training.precision") && ContainsSubstring("tensor cores"));
  REQUIRE(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("a run folder that cannot be made is explained", "[tools][cli]") {
  const Workplace place;
  write_bytes(place.folder / "file", "mine");
  for (const char* name : {"file", "file/run"}) {
    REQUIRE_THAT(failure_of({"train", place.config(), "--set", "run.folder=" + place.path(name)}),
                 ContainsSubstring(place.path(name)) && ContainsSubstring("choose another path"));
  }
  REQUIRE(read_bytes(place.folder / "file") == "mine");
}

TEST_CASE("a prompt with bytes that the model never saw is explained", "[tools][cli]") {
  const Workplace place;
  place.train();
  REQUIRE_THAT(failure_of({"generate", place.path("run"), "--prompt", "line \xff"}),
               ContainsSubstring("0xff at position 5") && ContainsSubstring("another corpus"));
  REQUIRE_THAT(failure_of({"generate", place.path("run"), "--prompt", ""}),
               ContainsSubstring("--prompt is empty"));
}

TEST_CASE("what is no whole checkpoint of a model is explained", "[tools][cli]") {
  const Workplace place;
  place.train();
  const auto failure = [&](std::string_view name) {
    return failure_of({"eval", place.path(name), "--threads", "1"});
  };
  REQUIRE_THAT(failure("none"), ContainsSubstring("none: there is no such file or folder"));
  REQUIRE_THAT(failure("corpus"), ContainsSubstring("it holds none"));
  REQUIRE_THAT(failure("text.txt"), ContainsSubstring("not a safetensors file"));
  const ProcessResult no_corpus =
      rondo_does({"eval", place.path("run"), "--data", place.path("none")});
  REQUIRE(no_corpus.exit_code == 1);
  REQUIRE_THAT(no_corpus.err, ContainsSubstring("rondo prepare"));

  const std::string model = place.last("run");
  write_bytes(place.folder / "short.safetensors", model.substr(0, model.size() - 100));
  REQUIRE_THAT(failure("short.safetensors"), ContainsSubstring("short.safetensors"));
  const Tensor tensor = Tensor::zeros({2, 3}, DType::f32);
  const std::vector<NamedTensor> foreign{{"layer.weight", tensor}};
  write_safetensors(place.folder / "foreign.safetensors", foreign);
  REQUIRE_THAT(failure("foreign.safetensors"),
               ContainsSubstring("not a language model saved by Rondo"));
  // The description of one model over the weights of another.
  place.train({"--set", "model.hidden_size=24", "--set", "run.folder=" + place.path("other")});
  const SafetensorsFile other =
      SafetensorsFile::open(place.folder / "other" / "checkpoints" / "last" / "model.safetensors");
  std::vector<NamedTensor> weights;
  for (const std::string& name : other.names()) {
    weights.push_back({name, other.tensor(name)});
  }
  write_safetensors(
      place.folder / "mixed.safetensors", weights,
      SafetensorsFile::open(place.folder / "run/checkpoints/last/model.safetensors").metadata());
  REQUIRE_THAT(failure("mixed.safetensors"), ContainsSubstring("saved from another model"));
  REQUIRE_THAT(failure_of({"train", place.config(), "--resume", "--set", "model.hidden_size=24"}),
               ContainsSubstring("another model than the config describes"));

  // Within a run, size and hash give damage away; the weights themselves could be anything.
  const std::filesystem::path file =
      std::filesystem::canonical(place.folder / "run/checkpoints/last") / "model.safetensors";
  std::string damaged = model;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  write_bytes(file, damaged);
  REQUIRE_THAT(failure("run"), ContainsSubstring("it is damaged"));
  write_bytes(file, model.substr(0, model.size() / 2));
  REQUIRE_THAT(failure("run"), ContainsSubstring("it is not whole"));
  REQUIRE_THAT(failure_of({"train", place.config(), "--resume"}),
               ContainsSubstring("it is not whole"));
  write_bytes(file, model);
  REQUIRE(rondo_does({"eval", place.path("run"), "--threads", "1"}).exit_code == 0);
}

TEST_CASE("a full disk ends a run with advice and leaves its checkpoint", "[tools][cli]") {
  const Workplace place;
  place.train();
  const std::string before = place.last("run");
  // A limit on the size of files, in units of 512 bytes, stands for the disk: the checkpoint is the
  // first to run into it.
  REQUIRE(before.size() > 16 * 512);
  const ProcessResult result =
      shell("ulimit -f 16; exec rondo train " + shell_quoted(place.config()) +
            " --resume --set training.steps=12 --set logging.tensorboard=false");
  INFO(result.out);
  REQUIRE(result.exit_code == 1);
  REQUIRE_THAT(result.err, ContainsSubstring("model.safetensors") &&
                               ContainsSubstring("File too large") &&
                               ContainsSubstring("ulimit -f"));
  REQUIRE_THAT(result.out, ContainsSubstring("step 9/12") && !ContainsSubstring("saved"));

  REQUIRE(place.last("run") == before);
  REQUIRE_THAT(output_of({"info", place.path("run")}), ContainsSubstring("step        8"));
  place.train({"--resume", "--set", "training.steps=12"});
  place.train({"--set", "training.steps=12", "--set", "run.folder=" + place.path("undisturbed")});
  REQUIRE(place.last("run") == place.last("undisturbed"));
}

TEST_CASE("output that cannot be written is an error", "[tools][cli]") {
  if (!std::filesystem::exists("/dev/full")) {
    return;
  }
  const ProcessResult result = shell("rondo settings > /dev/full");
  REQUIRE(result.exit_code == 1);
  REQUIRE_THAT(result.err, ContainsSubstring("No space left on device"));

  // A run is trained to its end all the same.
  const Workplace place;
  const ProcessResult trained =
      shell("rondo train " + shell_quoted(place.config()) + " > /dev/full");
  REQUIRE(trained.exit_code == 1);
  REQUIRE_THAT(trained.err, ContainsSubstring("cannot write the output") ||
                                ContainsSubstring("could not be written"));
  REQUIRE_THAT(output_of({"info", place.path("run")}), ContainsSubstring("step        8"));
  // Nobody who reads is no error.
  const ProcessResult unread =
      shell("rondo train " + shell_quoted(place.config()) +
            " --set run.folder=" + shell_quoted(place.path("unread")) + " | true");
  REQUIRE(unread.err.empty());
}

TEST_CASE("a stopped run saves, and its advice resumes it to the same end", "[tools][cli]") {
  const int number = GENERATE(SIGINT, SIGTERM, SIGHUP);
  CAPTURE(number);
  // Far more steps than are done before the signal comes; how many they are is read afterwards.
  const Workplace place;
  const Words settings{
      "--set", "evaluation.every=0",           "--set", "checkpoint.every=0",
      "--set", "evaluation.test_at_end=false", "--set", "run.folder=" + place.path("stopped one")};
  Words words{RONDO_BINARY, "train", place.config(), "--set", "training.steps=100000000"};
  words.insert(words.end(), settings.begin(), settings.end());
  Process process(words);
  REQUIRE(process.wait_for("step 3/"));
  process.signal(number);
  const ProcessResult stopped = process.finish();
  require_orderly(stopped, number);
  INFO(stopped.err);
  REQUIRE(stopped.exit_code == 128 + number);  // a shell's loop ends, too
  REQUIRE_THAT(stopped.out, ContainsSubstring("Stopped; everything is saved"));

  std::smatch steps;
  REQUIRE(std::regex_search(stopped.out, steps, std::regex("\n  steps +([0-9]+)\n")));
  const std::string total = fmt::format("training.steps={}", std::stoll(steps[1]) + 5);
  const std::string marker = "Go on with: ";
  const std::size_t advice = stopped.out.find(marker);
  REQUIRE(advice != std::string::npos);
  const std::string command = stopped.out.substr(
      advice + marker.size(), stopped.out.find('\n', advice) - advice - marker.size());
  const ProcessResult resumed = shell(command + " --set " + total + " --set sample.length=0");
  INFO(command << '\n' << resumed.err);
  REQUIRE(resumed.exit_code == 0);
  REQUIRE_THAT(resumed.out, ContainsSubstring(fmt::format("resumed at step {}", steps[1].str())));

  place.train({"--set", "evaluation.every=0", "--set", "checkpoint.every=0", "--set", total});
  for (const char* file : {"model.safetensors", "training.safetensors"}) {
    INFO(file);
    REQUIRE(place.last("stopped one", file) == place.last("run", file));
  }
}

TEST_CASE("a reader that has seen enough causes no error", "[tools][cli]") {
  const Workplace place;
  place.train();
  const ProcessResult result =
      shell("{ rondo generate " + shell_quoted(place.path("run")) +
            " --threads 1 --prompt line --length 100000000 && echo written >&2; } | head -c 10");
  REQUIRE(result.out.size() == 10);
  REQUIRE(result.out.starts_with("line"));
  REQUIRE(result.err == "written\n");
}

TEST_CASE("a corpus is prepared once", "[tools][cli]") {
  const TemporaryFolder folder;
  const std::string source = (folder / "text.txt").string();
  write_bytes(source, sample_text());
  for (const char* kind : {"text", "enwik8"}) {
    const std::string output = (folder / kind).string();
    const Words words{"prepare", kind, source, "--output", output};
    const ProcessResult first = rondo_does(words);
    REQUIRE(first.exit_code == 0);
    REQUIRE_THAT(first.out, ContainsSubstring("distinct bytes") && ContainsSubstring("train"));
    const auto written = std::filesystem::last_write_time(folder / kind / "train.bytes");
    const ProcessResult second = rondo_does(words);
    REQUIRE(second.exit_code == 0);
    REQUIRE(second.out == first.out);
    REQUIRE_THAT(second.err, ContainsSubstring("already holds the corpus"));
    REQUIRE(std::filesystem::last_write_time(folder / kind / "train.bytes") == written);
  }
  // Part of Enwik8 is not Enwik8, and another text does not replace a corpus.
  REQUIRE_THAT(rondo_does({"prepare", "enwik8", source, "--output", (folder / "e").string()}).err,
               ContainsSubstring("cannot be compared"));
  write_bytes(source, sample_text() + "more");
  REQUIRE_THAT(failure_of({"prepare", "text", source, "--output", (folder / "text").string()}),
               ContainsSubstring("already holds another corpus"));
  REQUIRE_THAT(failure_of({"prepare", "text", (folder / "none").string(), "--output",
                           (folder / "x").string()}),
               ContainsSubstring("none") && ContainsSubstring("check the path"));
}

TEST_CASE("an error that cannot be shown is still only an error", "[tools][cli]") {
  if (!std::filesystem::exists("/dev/full")) {
    WARN("skipped: no /dev/full here");
    return;
  }
  REQUIRE(shell("rondo eval nothere 2> /dev/full").exit_code == 1);
}

TEST_CASE("a text without line breaks is trained on and written", "[tools][cli]") {
  const Workplace place;
  std::string text;
  for (int i = 0; text.size() < 6000; ++i) {
    text += fmt::format("{} ", i * i % 17);
  }
  write_bytes(place.path("blanks.txt"), text);
  rondo_does({"prepare", "text", place.path("blanks.txt"), "--output", place.path("blanks")});
  const ProcessResult trained =
      rondo_does({"train", place.config(), "--set", "data.corpus=" + place.path("blanks"), "--set",
                  "sample.length=5", "--set", "run.folder=" + place.path("blank run")});
  INFO(trained.err);
  REQUIRE(trained.exit_code == 0);
  REQUIRE_THAT(trained.out, ContainsSubstring("A sample"));
  REQUIRE(rondo_does({"generate", place.path("blank run"), "--length", "3"}).exit_code == 0);
  // A prompt that cannot be used is told of before anything is trained.
  const ProcessResult refused =
      rondo_does({"train", place.config(), "--set", "data.corpus=" + place.path("blanks"), "--set",
                  "sample.prompt=x", "--set", "sample.length=5", "--set",
                  "run.folder=" + place.path("never")});
  REQUIRE(refused.exit_code == 1);
  REQUIRE_THAT(refused.err, ContainsSubstring("sample.prompt: "));
  REQUIRE_FALSE(std::filesystem::exists(place.path("never")));
}
