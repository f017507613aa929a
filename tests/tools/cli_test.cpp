// The program as a user meets it: commands, files and messages.
#include <filesystem>

#include "tests/support/catch.h"
#include "tests/support/shell.h"
#include "tests/support/temporary_folder.h"

using namespace rondo::testing;

namespace {

namespace fs = std::filesystem;

// A folder with a small corpus and a config that trains on it in a moment.
class Workplace {
 public:
  Workplace() {
    std::string text;
    for (int i = 0; i < 400; ++i) {
      text += "line " + std::to_string(i * 7919 % 1000) + " of a song\n";
    }
    write_bytes(folder / "song.txt", text);
    write_bytes(folder / "tiny.yaml", R"(data:
  corpus: corpus
run:
  threads: 1
model:
  hidden_size: 16
  projection_size: 8
  num_layers: 2
  dropout: 0.1
training:
  steps: 30
  batch_size: 4
  unroll: 16
evaluation:
  every: 10
checkpoint:
  every: 10
sample:
  length: 20
)");
    REQUIRE(shell("$RONDO prepare text song.txt --output corpus").exit_code == 0);
  }

  ShellResult shell(const std::string& command) const {
    ShellResult result = run_shell(folder, command);
    INFO(command << "\n" << result.out << result.err);
    CHECK(result.err.find("terminate called") == std::string::npos);
    return result;
  }
  // Runs a command that must fail with exit code 1 and one message on standard error.
  std::string error_of(const std::string& command) const {
    const ShellResult result = shell(command);
    INFO(command << "\n" << result.out << result.err);
    CHECK(result.exit_code == 1);
    CHECK(result.err.rfind("rondo: ", 0) == 0);
    return result.err;
  }

  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("every command explains itself with examples", "[tools][cli]") {
  const TemporaryFolder folder;
  for (const char* command :
       {"train", "eval", "generate", "prepare enwik8", "prepare text", "info"}) {
    const ShellResult help = run_shell(folder, std::string("$RONDO ") + command + " --help");
    INFO(command);
    CHECK(help.exit_code == 0);
    CHECK_THAT(help.out, ContainsSubstring("Example"));
  }
  CHECK(run_shell(folder, "$RONDO --version").out.rfind("rondo ", 0) == 0);
  CHECK_THAT(run_shell(folder, "$RONDO settings").out, ContainsSubstring("highway_bias"));
  const ShellResult unknown = run_shell(folder, "$RONDO fly");
  CHECK(unknown.exit_code > 1);
  CHECK_FALSE(unknown.err.empty());
}

TEST_CASE("train, eval, generate and info go end to end", "[tools][cli]") {
  const Workplace work;
  const ShellResult train = work.shell("$RONDO train tiny.yaml");
  REQUIRE(train.exit_code == 0);
  CHECK_THAT(train.out, ContainsSubstring("step 30/30"));
  CHECK_THAT(train.out, ContainsSubstring("dev "));
  CHECK_THAT(train.out, ContainsSubstring("A sample at temperature"));
  for (const char* file : {"config.yaml", "metrics.jsonl", "learning_curve.svg", "tensorboard",
                           "checkpoints/last/model.safetensors", "checkpoints/best/state.json"}) {
    INFO(file);
    CHECK(fs::exists(work.folder.path() / "runs/tiny" / file));
  }
  const ShellResult eval = work.shell("$RONDO eval runs/tiny --threads 1");
  CHECK(eval.exit_code == 0);
  CHECK_THAT(eval.out, ContainsSubstring("test of song"));
  CHECK(work.shell("$RONDO eval runs/tiny/checkpoints/last/model.safetensors --split dev")
            .exit_code == 0);
  const ShellResult text =
      work.shell("$RONDO generate runs/tiny --prompt 'line 1' --length 30 --seed 4");
  CHECK(text.out.size() == std::string("line 1").size() + 30 + 1);
  CHECK(text.out ==
        work.shell("$RONDO generate runs/tiny --prompt 'line 1' --length 30 --seed 4").out);
  const ShellResult info = work.shell("$RONDO info runs/tiny --all");
  CHECK(info.exit_code == 0);
  CHECK_THAT(info.out, ContainsSubstring("transform.linear1.weight"));
  CHECK_THAT(info.out, ContainsSubstring("training state"));
  CHECK(work.shell("$RONDO info tiny.yaml").exit_code == 0);
}

TEST_CASE("a reader that goes away is no error", "[tools][cli]") {
  const Workplace work;
  REQUIRE(work.shell("$RONDO train tiny.yaml").exit_code == 0);
  const ShellResult cut = work.shell("$RONDO generate runs/tiny --length 20000 | head -c 10");
  CHECK(cut.out.size() == 10);
  CHECK(cut.err.empty());
}

TEST_CASE("mistakes in a config name the file, the line and the way out", "[tools][cli]") {
  const Workplace work;
  CHECK_THAT(work.error_of("$RONDO train missing.yaml"), ContainsSubstring("missing.yaml"));
  write_bytes(work.folder / "typo.yaml", "model:\n  hiden_size: 12\n");
  CHECK_THAT(work.error_of("$RONDO train typo.yaml"),
             ContainsSubstring("typo.yaml:2") && ContainsSubstring("model.hidden_size"));
  write_bytes(work.folder / "broken.yaml", "model: [1,\n");
  CHECK_THAT(work.error_of("$RONDO train broken.yaml"), ContainsSubstring("broken.yaml:"));
  CHECK_THAT(work.error_of("$RONDO train tiny.yaml --set training.steps=many"),
             ContainsSubstring("--set training.steps=many") && ContainsSubstring("found 'many'"));
  CHECK_THAT(work.error_of("$RONDO train tiny.yaml --set training.unroll=100000"),
             ContainsSubstring("unroll"));
  CHECK_THAT(work.error_of("$RONDO train tiny.yaml --set data.corpus=nowhere"),
             ContainsSubstring("rondo prepare"));
  CHECK_THAT(work.error_of("$RONDO train tiny.yaml --set run.device=cuda"),
             ContainsSubstring("no CUDA backend"));
  CHECK_FALSE(fs::exists(work.folder / "runs"));  // nothing was begun
}

TEST_CASE("bad checkpoints and prompts are told apart", "[tools][cli]") {
  const Workplace work;
  REQUIRE(work.shell("$RONDO train tiny.yaml").exit_code == 0);
  CHECK_THAT(work.error_of("$RONDO eval nowhere"), ContainsSubstring("nowhere"));
  CHECK_THAT(work.error_of("$RONDO generate runs/tiny --prompt 'line %'"), ContainsSubstring("%"));
  CHECK_THAT(work.error_of("$RONDO generate runs/tiny --prompt ''"), ContainsSubstring("--prompt"));

  const fs::path model = work.folder / "runs/tiny/checkpoints/best/model.safetensors";
  const std::string whole = read_bytes(model);
  write_bytes(work.folder / "cut.safetensors", whole.substr(0, whole.size() / 2));
  CHECK_THAT(work.error_of("$RONDO info cut.safetensors"), ContainsSubstring("cut.safetensors"));
  write_bytes(work.folder / "foreign.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  CHECK_THAT(work.error_of("$RONDO eval foreign.safetensors"),
             ContainsSubstring("not a language model saved by Rondo"));
  std::string flipped = whole;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  write_bytes(model, flipped);
  CHECK_THAT(work.error_of("$RONDO eval runs/tiny/checkpoints/best"),
             ContainsSubstring("model.safetensors"));
}

TEST_CASE("a run is neither overwritten nor resumed as another model", "[tools][cli]") {
  const Workplace work;
  REQUIRE(work.shell("$RONDO train tiny.yaml").exit_code == 0);
  CHECK_THAT(work.error_of("$RONDO train tiny.yaml"),
             ContainsSubstring("already holds a run") && ContainsSubstring("--resume"));
  CHECK_THAT(work.error_of("$RONDO train tiny.yaml --resume --set model.hidden_size=24"),
             ContainsSubstring("another model"));
  CHECK(work.shell("$RONDO eval runs/tiny").exit_code == 0);
}

TEST_CASE("a signal stops a run cleanly, and a resumed run ends with the same bytes",
          "[tools][cli]") {
  for (const std::string signal : {"INT", "TERM"}) {
    const Workplace work;
    const std::string train =
        "$RONDO train tiny.yaml --set training.steps=1500 "
        "--set evaluation.every=500 --set run.folder=";
    REQUIRE(work.shell(train + "straight").exit_code == 0);
    const ShellResult stopped =
        work.shell(train +
                   "stopped & pid=$!; while ! grep -q train stopped/metrics.jsonl 2>/dev/null; do "
                   "sleep 0.02; done; kill -" +
                   signal + " $pid; wait $pid");
    INFO(stopped.out << stopped.err);
    REQUIRE(stopped.exit_code == 0);
    CHECK_THAT(stopped.out, ContainsSubstring("Stopped; everything is saved"));
    CHECK_THAT(stopped.out, ContainsSubstring("rondo train stopped/config.yaml --resume"));
    const ShellResult resumed = work.shell("$RONDO train stopped/config.yaml --resume");
    REQUIRE(resumed.exit_code == 0);
    CHECK_THAT(resumed.out, ContainsSubstring("resumed at step"));
    for (const char* file : {"model.safetensors", "training.safetensors"}) {
      CHECK(read_bytes(work.folder.path() / "straight/checkpoints/last" / file) ==
            read_bytes(work.folder.path() / "stopped/checkpoints/last" / file));
    }
  }
}

TEST_CASE("a run folder that cannot be written costs nothing saved", "[tools][cli]") {
  const Workplace work;
  write_bytes(work.folder / "occupied", "a file");
  CHECK_THAT(work.error_of("$RONDO train tiny.yaml --set run.folder=occupied/run"),
             ContainsSubstring("occupied"));
  CHECK(read_bytes(work.folder / "occupied") == "a file");

  // A full disk, imitated: no file may grow beyond 12 blocks of 512 bytes, and checkpoints do.
  REQUIRE(work.shell("$RONDO train tiny.yaml --set training.steps=10").exit_code == 0);
  CHECK_THAT(work.error_of("ulimit -f 12; $RONDO train tiny.yaml --resume"),
             ContainsSubstring("cannot write") && ContainsSubstring("ulimit -f"));
  CHECK(work.shell("$RONDO eval runs/tiny").exit_code == 0);
  CHECK(work.shell("$RONDO train tiny.yaml --resume").exit_code == 0);
}

TEST_CASE("prepare says what it made, warns of a part, and leaves a finished corpus alone",
          "[tools][cli]") {
  const Workplace work;
  const ShellResult part = work.shell("$RONDO prepare enwik8 song.txt --output head");
  CHECK(part.exit_code == 0);
  CHECK_THAT(part.err, ContainsSubstring("cannot be compared with published"));
  CHECK_THAT(part.out, ContainsSubstring("train") && ContainsSubstring("test"));
  const fs::file_time_type before = fs::last_write_time(work.folder / "head/corpus.json");
  CHECK(work.shell("$RONDO prepare enwik8 song.txt --output head").exit_code == 0);
  CHECK(fs::last_write_time(work.folder / "head/corpus.json") == before);
  CHECK_THAT(work.error_of("$RONDO prepare text missing.txt"), ContainsSubstring("missing.txt"));
  write_bytes(work.folder / "empty.txt", "");
  CHECK_THAT(work.error_of("$RONDO prepare text empty.txt"), ContainsSubstring("empty.txt"));
}
