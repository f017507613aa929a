#include "core/file.h"

#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;
namespace fs = std::filesystem;

TEST_CASE("a mapped file shows its bytes", "[core][file]") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_bytes(path, "some bytes");
  const MappedFile file(path);
  fs::remove(path);  // the mapping does not need the name
  REQUIRE(std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()) ==
          "some bytes");

  write_bytes(path, "");
  REQUIRE(MappedFile(path).bytes().empty());
  REQUIRE(read_file(path).empty());
}

TEST_CASE("reading explains what is not a file", "[core][file]") {
  const TemporaryFolder folder;
  const fs::path missing = folder.path() / "missing";
  REQUIRE(error_of([&] { MappedFile file(missing); }) ==
          "cannot open " + missing.string() + ": No such file or directory; check the path");
  REQUIRE(error_of([&] { read_file(missing); }) ==
          "cannot open " + missing.string() + ": No such file or directory; check the path");
  REQUIRE(error_of([&] { MappedFile file(folder.path()); }) ==
          "cannot read " + folder.path().string() + ": it is not a regular file");
}

TEST_CASE("a file writer truncates or appends", "[core][file]") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "log";
  {
    FileWriter writer(path, FileWriter::Mode::append);
    writer.write("one ");
    FileWriter moved(std::move(writer));
    moved.write("two ");
    moved.sync();
    moved.close();
    REQUIRE_THAT(error_of([&] { moved.write("late"); }), ContainsSubstring(path.string()));
  }
  FileWriter(path, FileWriter::Mode::append).write("three");
  REQUIRE(read_file(path) == "one two three");
  FileWriter(path, FileWriter::Mode::truncate).write("new");
  REQUIRE(read_file(path) == "new");
  REQUIRE_THAT(error_of([&] {
                 FileWriter writer(folder.path() / "no" / "file", FileWriter::Mode::truncate);
               }),
               ContainsSubstring("cannot write") && ContainsSubstring("check the path"));
}

TEST_CASE("a full disk is an error that says what to do", "[core][file]") {
  REQUIRE(error_of([] { FileWriter("/dev/full", FileWriter::Mode::truncate).write("text"); }) ==
          "cannot write /dev/full: No space left on device; free some space or choose another "
          "folder");
}

TEST_CASE("an atomic write replaces all or nothing", "[core][file]") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_file_atomically(path, "old");
  REQUIRE(read_file(path) == "old");

  // Neither an error of ours nor another exception harms the old content, and neither leaves a
  // temporary file.
  REQUIRE(error_of([&] {
            write_file_atomically(path, [](FileWriter& writer) {
              writer.write("half of the n");
              fail("stopped");
            });
          }) == "stopped");
  REQUIRE_THROWS_AS(write_file_atomically(path, [](FileWriter&) { throw std::bad_alloc(); }),
                    std::bad_alloc);
  REQUIRE(read_file(path) == "old");

  // A reader that has the old file open keeps it.
  const MappedFile reader(path);
  write_file_atomically(path, "new, and longer");
  REQUIRE(reader.bytes().size() == 3);
  REQUIRE(read_file(path) == "new, and longer");
  REQUIRE(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);

  REQUIRE_THAT(error_of([&] { write_file_atomically(folder.path(), "text"); }),
               ContainsSubstring("cannot rename to " + folder.path().string()));
  REQUIRE_FALSE(fs::exists(folder.path().string() + ".tmp"));
}

TEST_CASE("make_folder makes parents and explains what is in the way", "[core][file]") {
  const TemporaryFolder folder;
  make_folder(folder.path() / "a" / "b");
  make_folder(folder.path() / "a" / "b");  // it may be there
  REQUIRE(fs::is_directory(folder.path() / "a" / "b"));
  sync_folder(folder.path() / "a");

  write_bytes(folder.path() / "file", "text");
  REQUIRE_THAT(error_of([&] { make_folder(folder.path() / "file" / "b"); }),
               ContainsSubstring("cannot create folder") && ContainsSubstring("Not a directory"));
  REQUIRE_THAT(error_of([&] { sync_folder(folder.path() / "none"); }),
               ContainsSubstring("cannot open folder"));
}

TEST_CASE("a file lock has one holder at a time", "[core][file]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "lock";
  REQUIRE_FALSE(FileLock::is_taken(path));
  {
    std::optional<FileLock> lock = FileLock::take(path);
    REQUIRE(lock);
    REQUIRE(FileLock::is_taken(path));
    REQUIRE_FALSE(FileLock::take(path));
    const FileLock moved = std::move(*lock);
    lock.reset();
    REQUIRE(FileLock::is_taken(path));  // neither that reset nor asking lets go of it
    REQUIRE(FileLock::is_taken(path));
  }
  REQUIRE_FALSE(FileLock::is_taken(path));
  REQUIRE(FileLock::take(path));
  REQUIRE_THAT(error_of([&] { FileLock::take(folder / "missing/lock"); }),
               ContainsSubstring("cannot open") && ContainsSubstring("missing/lock"));
}
