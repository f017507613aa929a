#include "trainers/checkpoint.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <set>

#include "core/file.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;
namespace fs = std::filesystem;

namespace {

// A checkpoint that can be told from others by `value`.
Checkpoint checkpoint_of(double value) {
  const auto full = [](const Shape& shape, double element) {
    return Tensor::full(shape, element, DType::f32, test_device());
  };
  return {{{"weight", full({4, 3}, value)}, {"bias", full({4}, -value)}},
          {{"model", "test"}},
          {{"moment.weight", full({4, 3}, value / 2)}},
          fmt::format(R"({{"value":{}}})", value)};
}

// Throws Error unless the checkpoint is the one of `value`, in all its files.
void require_value(const LoadedCheckpoint& loaded, double value) {
  REQUIRE(same_bits(loaded.model.tensor("weight"), Tensor::full({4, 3}, value)));
  REQUIRE(same_bits(loaded.model.tensor("bias"), Tensor::full({4}, -value)));
  REQUIRE(loaded.training.has_value());
  REQUIRE(same_bits(loaded.training->tensor("moment.weight"), Tensor::full({4, 3}, value / 2)));
  REQUIRE(nlohmann::json::parse(loaded.state_json.value()).at("value") == value);
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

}  // namespace

TEST_CASE("a checkpoint returns what was saved", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  const fs::path root = run.path() / "checkpoints";
  CheckpointFolder folder(root);
  REQUIRE_FALSE(folder.last().has_value());
  REQUIRE_FALSE(folder.best().has_value());
  REQUIRE_FALSE(fs::exists(root));

  folder.save(12, checkpoint_of(1.5), true);
  REQUIRE(names_in(root) == std::set<std::string>{"best", "last", "step_00000012"});
  REQUIRE(names_in(root / "last") ==
          std::set<std::string>{"model.safetensors", "state.json", "training.safetensors"});
  // Relative, so that the run can be moved.
  REQUIRE(fs::read_symlink(root / "last") == "step_00000012");
  REQUIRE(fs::read_symlink(root / "best") == "step_00000012");
  REQUIRE(folder.last() == root / "step_00000012");
  REQUIRE(folder.best() == root / "step_00000012");

  const auto loaded = load_checkpoint(root / "step_00000012");
  require_value(loaded, 1.5);
  REQUIRE(loaded.path == root / "step_00000012");
  REQUIRE(loaded.step == 12);
  REQUIRE(loaded.model.metadata() == std::map<std::string, std::string>{{"model", "test"}});
}

TEST_CASE("a checkpoint may have no training state", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  Checkpoint checkpoint = checkpoint_of(2);
  checkpoint.training.clear();
  CheckpointFolder(run.path()).save(123456789, checkpoint, false);
  REQUIRE(names_in(run.path()) == std::set<std::string>{"last", "step_123456789"});
  REQUIRE(names_in(run.path() / "last") ==
          std::set<std::string>{"model.safetensors", "state.json"});
  REQUIRE_FALSE(load_checkpoint(run.path()).training.has_value());
}

TEST_CASE("the state comes back with every digit", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  Checkpoint checkpoint = checkpoint_of(1);
  const auto state = nlohmann::json::parse(
      R"({"seed":18446744073709551615,"loss":0.1,"tiny":5e-324,"text":"ü\n","list":[null,true,-1]})");
  checkpoint.state_json = state.dump();
  CheckpointFolder(run.path()).save(1, checkpoint, false);
  REQUIRE(nlohmann::json::parse(load_checkpoint(run.path()).state_json.value()) == state);
}

TEST_CASE("load_checkpoint finds the checkpoint of a run", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  const fs::path root = run.path() / "checkpoints";
  CheckpointFolder folder(root);
  folder.save(1, checkpoint_of(1), true);
  folder.save(2, checkpoint_of(2), false);

  for (const fs::path& path : {run.path(), root}) {
    require_value(load_checkpoint(path), 1);
    require_value(load_checkpoint(path, CheckpointChoice::best), 1);
    require_value(load_checkpoint(path, CheckpointChoice::last), 2);
  }
  require_value(load_checkpoint(root / "last"), 2);
  require_value(load_checkpoint(root / "best" / ""), 1);
  REQUIRE(load_checkpoint(root / "last").path == root / "step_00000002");

  const auto bare = load_checkpoint(root / "last" / "model.safetensors");
  REQUIRE(same_bits(bare.model.tensor("weight"), Tensor::full({4, 3}, 2)));
  REQUIRE_FALSE(bare.training.has_value());
  REQUIRE_FALSE(bare.step.has_value());
  REQUIRE_FALSE(bare.state_json.has_value());

  // A run can be moved, and goes on when a copy has lost its links.
  const TemporaryFolder elsewhere;
  fs::rename(run.path() / "checkpoints", elsewhere.path() / "checkpoints");
  require_value(load_checkpoint(elsewhere.path()), 1);
  fs::remove(elsewhere.path() / "checkpoints" / "best");
  require_value(load_checkpoint(elsewhere.path()), 2);
  fs::remove(elsewhere.path() / "checkpoints" / "last");
  require_value(load_checkpoint(elsewhere.path()), 2);

  REQUIRE_THAT(error_of([&] { load_checkpoint(run.path()); }),
               ContainsSubstring(run.path().string()) && ContainsSubstring("it holds none"));
  REQUIRE_THAT(error_of([&] { load_checkpoint(run.path() / "none"); }),
               ContainsSubstring("there is no such file or folder"));
}

TEST_CASE("saving keeps last and best and removes the rest", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  CheckpointFolder folder(run.path());
  folder.save(1, checkpoint_of(1), false);
  folder.save(2, checkpoint_of(2), true);
  folder.save(3, checkpoint_of(3), false);
  REQUIRE(names_in(run.path()) ==
          std::set<std::string>{"best", "last", "step_00000002", "step_00000003"});
  folder.save(4, checkpoint_of(4), false);
  REQUIRE(names_in(run.path()) ==
          std::set<std::string>{"best", "last", "step_00000002", "step_00000004"});
  require_value(load_checkpoint(run.path(), CheckpointChoice::best), 2);
  require_value(load_checkpoint(run.path(), CheckpointChoice::last), 4);
  folder.save(5, checkpoint_of(5), true);
  REQUIRE(names_in(run.path()) == std::set<std::string>{"best", "last", "step_00000005"});
}

TEST_CASE("saving removes what a killed run left and nothing of others", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  fs::create_directories(run.path() / ".tmp-step_00000007");
  write_bytes(run.path() / ".tmp-step_00000007" / "model.safetensors", "half");
  fs::create_symlink("nowhere", run.path() / ".tmp-last");
  const std::set<std::string> foreign = {"step_7",        "step_00000007x",  "step_00000007.1",
                                         "step_+0000007", "step_000000007",  "Step_00000007",
                                         ".tmp-mine",     "my_step_00000007"};
  for (const std::string& name : foreign) {
    fs::create_directories(run.path() / name);
  }
  write_bytes(run.path() / "step_00000008", "a file");
  write_bytes(run.path() / "notes.txt", "mine");

  CheckpointFolder folder(run.path());
  folder.save(9, checkpoint_of(9), false);
  std::set<std::string> expected = foreign;
  expected.insert({"step_00000008", "notes.txt", "last", "step_00000009"});
  REQUIRE(names_in(run.path()) == expected);
  // A file in the way of a step is not touched either.
  folder.save(8, checkpoint_of(8), false);
  require_value(load_checkpoint(run.path()), 8);
  REQUIRE(read_bytes(run.path() / "step_00000008") == "a file");
}

TEST_CASE("the same step can be saved again", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  CheckpointFolder folder(run.path());
  folder.save(5, checkpoint_of(1), true);
  const auto mapped = load_checkpoint(run.path());
  folder.save(5, checkpoint_of(2), false);
  // The best one is another state of the same step, and stays.
  require_value(load_checkpoint(run.path(), CheckpointChoice::best), 1);
  require_value(load_checkpoint(run.path(), CheckpointChoice::last), 2);
  REQUIRE(names_in(run.path()) ==
          std::set<std::string>{"best", "last", "step_00000005", "step_00000005.2"});
  REQUIRE(load_checkpoint(run.path(), CheckpointChoice::last).step == 5);

  folder.save(5, checkpoint_of(3), true);
  REQUIRE(names_in(run.path()) == std::set<std::string>{"best", "last", "step_00000005.3"});
  folder.save(5, checkpoint_of(4), true);
  REQUIRE(names_in(run.path()) == std::set<std::string>{"best", "last", "step_00000005"});
  require_value(load_checkpoint(run.path()), 4);
  // What somebody has loaded stays readable.
  require_value(mapped, 1);
}

TEST_CASE("a save that fails changes nothing", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  CheckpointFolder folder(run.path());
  folder.save(1, checkpoint_of(1), true);
  folder.save(2, checkpoint_of(2), false);
  const auto names = names_in(run.path());

  SECTION("when the disk is full at any byte") {
    std::size_t largest = 0;
    for (const auto& entry : fs::directory_iterator(run.path() / "last")) {
      largest = std::max<std::size_t>(largest, entry.file_size());
    }
    for (std::size_t bytes = 0; bytes < largest; bytes += 20) {
      INFO("files of at most " << bytes << " bytes");
      std::string message;
      {
        const FileSizeLimit limit(bytes);
        message = error_of([&] { folder.save(3, checkpoint_of(3), true); });
      }
      REQUIRE_THAT(message,
                   ContainsSubstring("cannot write") && ContainsSubstring("step_00000003"));
      REQUIRE(names_in(run.path()) == names);
    }
  }
  SECTION("when the link cannot be replaced") {
    fs::remove(run.path() / "last");
    fs::create_directories(run.path() / "last" / "inside");
    REQUIRE_THAT(error_of([&] { folder.save(3, checkpoint_of(3), false); }),
                 ContainsSubstring("cannot rename") && ContainsSubstring("last"));
    REQUIRE_FALSE(fs::exists(run.path() / "step_00000003"));
    require_value(load_checkpoint(run.path(), CheckpointChoice::best), 1);
    // A new run hears of it before it has trained for nothing.
    REQUIRE_THAT(
        error_of([&] { CheckpointFolder again(run.path()); }),
        ContainsSubstring((run.path() / "last").string()) && ContainsSubstring("is not a link"));
    return;
  }
  SECTION("when a tensor cannot be written") {
    Checkpoint bad = checkpoint_of(3);
    bad.training.push_back({"undefined", Tensor()});
    REQUIRE_THAT(error_of([&] { folder.save(3, bad, true); }),
                 ContainsSubstring("\"undefined\" has no elements"));
  }
  SECTION("when the state is not JSON") {
    Checkpoint bad = checkpoint_of(3);
    bad.state_json = "{";
    REQUIRE_THAT(error_of([&] { folder.save(3, bad, true); }), ContainsSubstring("not valid JSON"));
    bad.state_json = std::string(100'000, '[') + std::string(100'000, ']');
    REQUIRE_THAT(error_of([&] { folder.save(3, bad, true); }), ContainsSubstring("nested deeper"));
  }
  REQUIRE(names_in(run.path()) == names);
  require_value(load_checkpoint(run.path(), CheckpointChoice::best), 1);
  require_value(load_checkpoint(run.path(), CheckpointChoice::last), 2);
}

TEST_CASE("saving where a file stands is an error", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  write_bytes(run.path() / "checkpoints", "in the way");
  CheckpointFolder folder(run.path() / "checkpoints");
  REQUIRE_THAT(error_of([&] { folder.save(1, checkpoint_of(1), false); }),
               ContainsSubstring("cannot create folder") && ContainsSubstring("checkpoints"));
  REQUIRE(read_bytes(run.path() / "checkpoints") == "in the way");
}

TEST_CASE("a run killed at any moment leaves a whole checkpoint", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  CheckpointFolder folder(run.path());
  folder.save(0, checkpoint_of(0), true);
  std::int64_t reached = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      try {
        // The step that was reached again, as a run that goes on may save it.
        for (std::int64_t step = reached;; ++step) {
          folder.save(step, checkpoint_of(static_cast<double>(step)), step % 3 == 0);
        }
      } catch (...) {
        ::_exit(1);
      }
    }
    // One save at least, then anywhere in the next ones.
    int status = 0;
    const fs::path before = fs::read_symlink(run.path() / "last");
    while (fs::read_symlink(run.path() / "last") == before) {
      REQUIRE(::waitpid(child, &status, WNOHANG) == 0);
      ::usleep(100);
    }
    ::usleep(static_cast<useconds_t>(700 * round));
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));

    const auto last = load_checkpoint(run.path(), CheckpointChoice::last);
    REQUIRE(last.step.value() >= reached);
    reached = last.step.value();
    require_value(last, static_cast<double>(reached));
    const auto best = load_checkpoint(run.path(), CheckpointChoice::best);
    REQUIRE(best.step.value() % 3 == 0);
    require_value(best, static_cast<double>(best.step.value()));
  }
  folder.save(reached, checkpoint_of(static_cast<double>(reached)), true);
  REQUIRE(names_in(run.path()).size() == 3);
}

TEST_CASE("a damaged checkpoint is refused and another one named", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  CheckpointFolder folder(run.path());
  folder.save(1, checkpoint_of(1), true);
  folder.save(2, checkpoint_of(2), false);
  const fs::path last = run.path() / "step_00000002";
  const std::string advice = "fall back on " + (run.path() / "step_00000001").string();
  const auto error_of_load = [&] {
    const std::string message =
        error_of([&] { load_checkpoint(run.path(), CheckpointChoice::last); });
    REQUIRE_THAT(message, ContainsSubstring(advice));
    return message;
  };

  for (const std::string name : {"model.safetensors", "training.safetensors", "state.json"}) {
    const fs::path file = last / name;
    const std::string whole = read_bytes(file);
    SECTION(name + " with a changed byte") {
      for (std::size_t at = 0; at < whole.size(); ++at) {
        std::string bytes = whole;
        bytes[at] = static_cast<char>(bytes[at] ^ 1);
        write_bytes(file, bytes);
        INFO("byte " << at);
        REQUIRE_THAT(error_of_load(), ContainsSubstring(file.string()));
      }
    }
    SECTION(name + " cut short") {
      for (const std::size_t length : {std::size_t{0}, whole.size() / 2, whole.size() - 2}) {
        write_bytes(file, whole.substr(0, length));
        REQUIRE_THAT(error_of_load(), ContainsSubstring(file.string()));
      }
    }
    SECTION(name + " removed") {
      fs::remove(file);
      REQUIRE_THAT(error_of_load(), ContainsSubstring(file.string()));
    }
  }
  SECTION("the message shows sizes and hashes") {
    const std::string whole = read_bytes(last / "model.safetensors");
    write_bytes(last / "model.safetensors", whole + "x");
    REQUIRE_THAT(error_of_load(), ContainsSubstring(fmt::format("has {} bytes; expected {}",
                                                                whole.size() + 1, whole.size())));
    std::string changed = whole;
    changed.back() = static_cast<char>(changed.back() ^ 1);
    write_bytes(last / "model.safetensors", changed);
    REQUIRE_THAT(error_of_load(), ContainsSubstring("has SHA-256"));
  }
  SECTION("a checkpoint without another") {
    fs::remove_all(run.path() / "step_00000001");
    write_bytes(last / "model.safetensors", "");
    REQUIRE_THAT(error_of([&] { load_checkpoint(run.path()); }),
                 ContainsSubstring("there is no other checkpoint"));
  }
}

TEST_CASE("a state file that lies is refused", "[trainers][checkpoint]") {
  const TemporaryFolder run;
  CheckpointFolder(run.path()).save(1, checkpoint_of(1), false);
  const fs::path state = run.path() / "last" / "state.json";
  const auto error_of_state = [&](const std::string& text) {
    write_bytes(state, text);
    return error_of([&] { load_checkpoint(run.path()); });
  };
  REQUIRE_THAT(error_of_state("[]"), ContainsSubstring("lacks what a checkpoint records"));
  REQUIRE_THAT(error_of_state("{}"), ContainsSubstring("lacks what a checkpoint records"));
  REQUIRE_THAT(error_of_state(R"({"format":"1"})"), ContainsSubstring("lacks"));
  REQUIRE_THAT(error_of_state(R"({"format":2})"),
               ContainsSubstring("has format 2; this version of Rondo reads format 1"));
  REQUIRE_THAT(error_of_state(R"({"format":1,"sha256":"00"})"), ContainsSubstring("expected 00"));
  REQUIRE_THAT(error_of_state(std::string(1'000'000, '[')), ContainsSubstring("nested deeper"));
}

TEST_CASE("assign_tensors copies by name", "[trainers][checkpoint]") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  const auto saved = checkpoint_of(3).model;
  write_safetensors(path, saved);
  // In another order than the file's.
  const std::vector<NamedTensor> targets = {
      {"bias", Tensor::zeros({4}, DType::f32, test_device())},
      {"weight", Tensor::zeros({4, 3}, DType::f32, test_device())}};
  assign_tensors(targets, SafetensorsFile::open(path), "model");
  REQUIRE(same_bits(targets[0].tensor, saved[1].tensor));
  REQUIRE(same_bits(targets[1].tensor, saved[0].tensor));
  REQUIRE_FALSE(targets[0].tensor.shares_storage_with(saved[1].tensor));
}

TEST_CASE("assign_tensors explains a file of another model", "[trainers][checkpoint]") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  write_safetensors(path, std::vector<NamedTensor>{{"same", Tensor::full({2}, 1.0)},
                                                   {"shape", Tensor::zeros({5, 3})},
                                                   {"dtype", Tensor::zeros({2})},
                                                   {"extra", Tensor::zeros({1})}});
  const auto file = SafetensorsFile::open(path);
  std::vector<NamedTensor> targets = {{"same", Tensor::zeros({2})},
                                      {"shape", Tensor::zeros({6, 3})},
                                      {"dtype", Tensor::zeros({2}, DType::f64)},
                                      {"missing", Tensor::zeros({7})}};
  REQUIRE(error_of([&] { assign_tensors(targets, file, "model"); }) ==
          "cannot load the model from " + path.string() +
              R"(: tensor "shape" has shape [5, 3], expected [6, 3]; tensor "dtype" is f32, )"
              R"(expected f64; tensor "missing" of shape [7] is missing; tensor "extra" is not )"
              "expected; it was saved from another model: check the configuration");
  // Nothing was copied on the way.
  REQUIRE(same_bits(targets[0].tensor, Tensor::zeros({2})));

  for (int i = 0; i < 10; ++i) {
    targets.push_back({fmt::format("more.{}", i), Tensor::zeros({1})});
  }
  REQUIRE_THAT(error_of([&] { assign_tensors(targets, file, "model"); }),
               ContainsSubstring("more.1\"") && !ContainsSubstring("more.2") &&
                   ContainsSubstring("; and 9 more;"));
}
