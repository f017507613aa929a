#include "data/download.h"

#include "core/file.h"
#include "tests/data/file_server.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// Bytes of every value, in no order that a mistake could hide behind.
std::string some_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24U);
  }
  return bytes;
}

}  // namespace

TEST_CASE("a download arrives whole and reports its progress", "[data][download]") {
  const TemporaryFolder folder;
  const std::string content = some_bytes(100000);
  const FileServer server(content, {});
  std::uint64_t last_done = 0;
  std::uint64_t last_total = 0;
  download(server.url(), folder / "file", [&](std::uint64_t done, std::uint64_t total) {
    REQUIRE(done >= last_done);
    last_done = done;
    last_total = total;
  });
  REQUIRE(read_file(folder / "file") == content);
  REQUIRE(last_done == content.size());
  REQUIRE(last_total == content.size());
  REQUIRE_FALSE(std::filesystem::exists(folder / "file.part"));
}

TEST_CASE("a download that was broken off goes on where it stopped", "[data][download]") {
  const TemporaryFolder folder;
  const std::string content = some_bytes(100000);
  FileServer server(content, {.break_after = 30000});
  const std::string message = error_of([&] { download(server.url(), folder / "file"); });
  REQUIRE_THAT(message, ContainsSubstring("stopped after 30000 bytes"));
  REQUIRE_THAT(message, ContainsSubstring("run the same command"));
  REQUIRE_FALSE(std::filesystem::exists(folder / "file"));

  SECTION("from a server that can do that") {
    server.set_behaviour({});
    std::uint64_t first_done = content.size();
    std::uint64_t last_total = 0;
    download(server.url(), folder / "file", [&](std::uint64_t done, std::uint64_t total) {
      first_done = std::min(first_done, done);
      last_total = total;
    });
    REQUIRE(server.starts() == std::vector<std::size_t>{0, 30000});
    REQUIRE(first_done >= 30000);
    REQUIRE(last_total == content.size());
  }
  SECTION("and starts again where the server cannot") {
    server.set_behaviour({.ranges = false});
    download(server.url(), folder / "file");
    REQUIRE(server.starts().back() == 0);
  }
  REQUIRE(read_file(folder / "file") == content);
}

TEST_CASE("a download that had arrived but not been renamed is finished", "[data][download]") {
  const TemporaryFolder folder;
  const std::string content = some_bytes(5000);
  const bool ranges = GENERATE(true, false);
  const FileServer server(content, {.ranges = ranges});
  write_file_atomically(folder / "file.part", content);
  download(server.url(), folder / "file");
  REQUIRE(read_file(folder / "file") == content);
}

TEST_CASE("a download from a file address resumes too", "[data][download]") {
  const TemporaryFolder folder;
  const std::string content = some_bytes(5000);
  write_file_atomically(folder / "original", content);
  write_file_atomically(folder / "file.part", content.substr(0, 1234));
  download("file://" + (folder / "original").string(), folder / "file");
  REQUIRE(read_file(folder / "file") == content);

  // A part that is longer than the file cannot be the beginning of it.
  write_file_atomically(folder / "file.part", content + "more");
  download("file://" + (folder / "original").string(), folder / "file");
  REQUIRE(read_file(folder / "file") == content);
}

TEST_CASE("a download that cannot start leaves nothing and says why", "[data][download]") {
  const TemporaryFolder folder;
  const FileServer server("text", {.missing = true});
  REQUIRE_THAT(error_of([&] { download(server.url(), folder / "file"); }),
               ContainsSubstring(server.url()) && ContainsSubstring("404"));
  REQUIRE_THAT(error_of([&] { download("file:///no/such/file", folder / "file"); }),
               ContainsSubstring("check the address"));
  REQUIRE_THAT(error_of([&] { download("nonsense://host/file", folder / "file"); }),
               ContainsSubstring("nonsense"));
  REQUIRE(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("an exception of the progress callback stops a download", "[data][download]") {
  const TemporaryFolder folder;
  const FileServer server(some_bytes(5000), {});
  REQUIRE(error_of([&] {
            download(server.url(), folder / "file",
                     [](std::uint64_t, std::uint64_t) { fail("enough"); });
          }) == "enough");
  REQUIRE_FALSE(std::filesystem::exists(folder / "file"));
}
