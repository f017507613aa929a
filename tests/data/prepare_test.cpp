#include "data/prepare.h"

#include <limits>
#include <utility>
#include <vector>

#include "core/checksum.h"
#include "core/file.h"
#include "data/corpus.h"
#include "data/prepared_folder.h"
#include "tests/data/archive_maker.h"
#include "tests/data/file_server.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

std::string hash(std::string_view text) { return sha1(std::as_bytes(std::span(text))); }

std::string sample_text(std::size_t count) {
  std::string text;
  for (int line = 0; text.size() < count; ++line) {
    text += fmt::format("<page>line {}</page>\n", line);
  }
  return text.substr(0, count);
}

// A stand-in for Enwik8 of 4000 bytes and everything needed to prepare it.
struct Fixture {
  Fixture() {
    options.output = folder / "corpus";
    options.bytes = text.size();
    options.sha1 = hash(text);
    options.url = "file:///the/test/must/not/download";
  }

  std::filesystem::path write(const std::string& name, std::string_view content) const {
    write_file_atomically(folder / name, content);
    return folder / name;
  }
  std::filesystem::path write_archive(const std::string& name, const std::string& entry,
                                      const std::string& content,
                                      const ArchiveKind& kind = kZip) const {
    return make_archive(folder / name, kind, {{entry, content}});
  }
  std::string read(const std::string& name) const { return read_file(options.output / name); }
  void require_prepared() const {
    REQUIRE(read("train.bytes") == text.substr(0, 3600));
    REQUIRE(read("dev.bytes") == text.substr(3600, 200));
    REQUIRE(read("test.bytes") == text.substr(3800));
    REQUIRE(read_manifest(options.output).complete);
  }
  void require_not_prepared() const {
    REQUIRE_FALSE(std::filesystem::exists(manifest_path(options.output)));
  }

  TemporaryFolder folder;
  std::string text = sample_text(4000);
  LargeTextOptions options = enwik8();
};

}  // namespace

TEST_CASE("the whole of Enwik8 is cut 90, 5 and 5", "[data][prepare]") {
  Fixture fixture;
  SECTION("from a file") { fixture.options.source = fixture.write("data", fixture.text); }
  SECTION("from an archive") {
    const ArchiveKind kind = GENERATE(kZip, kTar, kTarGz, kGz, kXz);
    fixture.options.source =
        fixture.write_archive("enwik8" + kind.extension, "enwik8", fixture.text, kind);
  }
  const PreparedCorpus prepared = prepare_large_text(fixture.options);
  REQUIRE_FALSE(prepared.already_there);
  fixture.require_prepared();
  const CorpusManifest manifest = read_manifest(fixture.options.output);
  REQUIRE(manifest.name == "enwik8");
  REQUIRE(manifest.source_bytes == 4000);
  REQUIRE(manifest.vocabulary == prepared.manifest.vocabulary);
  REQUIRE(manifest.splits[index(Split::dev)].bytes == 200);
  const std::string dev = fixture.read("dev.bytes");
  REQUIRE(manifest.splits[index(Split::dev)].sha256 == sha256(std::as_bytes(std::span(dev))));
}

TEST_CASE("a shorter file is taken for the beginning of Enwik8", "[data][prepare]") {
  Fixture fixture;
  fixture.options.source = fixture.write("data", fixture.text.substr(0, 2030));
  const PreparedCorpus prepared = prepare_large_text(fixture.options);
  REQUIRE_FALSE(prepared.manifest.complete);
  REQUIRE_FALSE(Corpus::open(fixture.options.output.string()).complete());
  // A twentieth, rounded down.
  REQUIRE(fixture.read("train.bytes") == fixture.text.substr(0, 1828));
  REQUIRE(fixture.read("dev.bytes") == fixture.text.substr(1828, 101));
  REQUIRE(fixture.read("test.bytes") == fixture.text.substr(1929, 101));
}

TEST_CASE("a file that is not Enwik8 is refused", "[data][prepare]") {
  Fixture fixture;
  const auto error_with = [&](const std::filesystem::path& source) {
    fixture.options.source = source;
    const std::string message = error_of([&] { prepare_large_text(fixture.options); });
    fixture.require_not_prepared();
    REQUIRE_THAT(message, ContainsSubstring(source.string()));
    return message;
  };
  std::string changed = fixture.text;
  changed[100] = '#';
  REQUIRE_THAT(error_with(fixture.write("changed", changed)),
               ContainsSubstring(hash(changed)) && ContainsSubstring(fixture.options.sha1));
  REQUIRE_THAT(error_with(fixture.write("long", fixture.text + "x")),
               ContainsSubstring("has 4001 bytes") && ContainsSubstring("rondo prepare text"));
  REQUIRE_THAT(error_with(fixture.write("empty", "")), ContainsSubstring("has 0 bytes"));
  REQUIRE_THAT(error_with(fixture.write("short", fixture.text.substr(0, 999))),
               ContainsSubstring("has 999 bytes; a corpus needs at least 1000"));
  REQUIRE_THAT(error_with(fixture.folder / "nothing"), ContainsSubstring("No such file"));
  REQUIRE_THAT(error_with(fixture.folder.path()), ContainsSubstring("not a regular file"));
}

TEST_CASE("an archive that does not hold Enwik8 is refused", "[data][prepare]") {
  Fixture fixture;
  const auto error_with = [&](const std::filesystem::path& source) {
    fixture.options.source = source;
    const std::string message = error_of([&] { prepare_large_text(fixture.options); });
    fixture.require_not_prepared();
    return message;
  };
  REQUIRE_THAT(error_with(fixture.write_archive("other.zip", "text8", fixture.text)),
               ContainsSubstring("no entry \"enwik8\"; it holds \"text8\""));
  REQUIRE_THAT(error_with(fixture.write_archive("long.zip", "enwik8", fixture.text + "x")),
               ContainsSubstring("is longer than the 4000 bytes expected"));

  const std::string whole = read_file(fixture.write_archive("good.zip", "enwik8", fixture.text));
  REQUIRE_THAT(error_with(fixture.write("half.zip", whole.substr(0, whole.size() / 2))),
               ContainsSubstring("as an archive"));
  for (const ArchiveKind& kind : {kZip, kStoredZip}) {
    std::string damaged =
        read_file(fixture.write_archive("damaged.zip", "enwik8", fixture.text, kind));
    damaged[damaged.size() / 3] = static_cast<char>(~damaged[damaged.size() / 3]);
    REQUIRE_THAT(error_with(fixture.write("damaged.zip", damaged)),
                 ContainsSubstring("is damaged"));
  }
}

TEST_CASE("preparing again changes nothing", "[data][prepare]") {
  Fixture fixture;
  fixture.options.source = fixture.write("data", fixture.text);
  prepare_large_text(fixture.options);
  const auto written = std::filesystem::last_write_time(fixture.options.output / "train.bytes");
  const std::string manifest = fixture.read("corpus.json");

  REQUIRE(prepare_large_text(fixture.options).already_there);
  fixture.options.source = fixture.write_archive("data.zip", "enwik8", fixture.text);
  REQUIRE(prepare_large_text(fixture.options).already_there);
  fixture.options.source.clear();  // would download if it had to
  REQUIRE(prepare_large_text(fixture.options).already_there);
  REQUIRE(std::filesystem::last_write_time(fixture.options.output / "train.bytes") == written);
  REQUIRE(fixture.read("corpus.json") == manifest);
}

TEST_CASE("a corpus is never replaced by another", "[data][prepare]") {
  Fixture fixture;
  fixture.options.source = fixture.write("data", fixture.text.substr(0, 2000));
  prepare_large_text(fixture.options);
  const std::string train = fixture.read("train.bytes");
  const auto require_refused = [&](const std::function<void()>& body) {
    REQUIRE_THAT(error_of(body),
                 ContainsSubstring("already holds another corpus, enwik8 of 2000") &&
                     ContainsSubstring("a part of"));
    REQUIRE(fixture.read("train.bytes") == train);
  };
  require_refused([&] {
    fixture.options.source = fixture.write("data", fixture.text);
    prepare_large_text(fixture.options);
  });
  require_refused([&] {
    std::string changed = fixture.text.substr(0, 2000);
    changed.back() = '#';
    fixture.options.source = fixture.write("data", changed);
    prepare_large_text(fixture.options);
  });
  require_refused([&] {
    fixture.options.source.clear();
    prepare_large_text(fixture.options);
  });
  require_refused([&] {
    prepare_text({.source = fixture.write("data", fixture.text.substr(0, 2000)),
                  .output = fixture.options.output,
                  .name = ""});
  });
}

TEST_CASE("a preparation that was interrupted or damaged is done again", "[data][prepare]") {
  Fixture fixture;
  fixture.options.source = fixture.write("data", fixture.text);
  SECTION("interrupted before the end") {
    make_folder(fixture.options.output);
    write_file_atomically(fixture.options.output / "train.bytes", "half");
    write_file_atomically(fixture.options.output / "dev.bytes.tmp", "left over");
  }
  SECTION("a split truncated afterwards") {
    prepare_large_text(fixture.options);
    std::filesystem::resize_file(fixture.options.output / "train.bytes", 10);
  }
  SECTION("a manifest damaged afterwards") {
    prepare_large_text(fixture.options);
    write_file_atomically(manifest_path(fixture.options.output), "{");
  }
  REQUIRE_FALSE(prepare_large_text(fixture.options).already_there);
  fixture.require_prepared();
}

TEST_CASE("without a file, Enwik8 is downloaded", "[data][prepare][download]") {
  Fixture fixture;
  const std::string zip = read_file(fixture.write_archive("data.zip", "enwik8", fixture.text));
  FileServer server(zip, {.break_after = zip.size() / 2});
  fixture.options.url = server.url();
  REQUIRE_THAT(error_of([&] { prepare_large_text(fixture.options); }),
               ContainsSubstring("run the same command"));
  fixture.require_not_prepared();

  server.set_behaviour({});
  std::uint64_t done = 0;
  fixture.options.progress = [&done](std::string_view step, std::uint64_t bytes, std::uint64_t) {
    REQUIRE(step == "downloading");
    done = bytes;
  };
  REQUIRE_FALSE(prepare_large_text(fixture.options).already_there);
  fixture.require_prepared();
  REQUIRE(done == zip.size());
  REQUIRE(server.starts() == std::vector<std::size_t>{0, zip.size() / 2});
  REQUIRE_FALSE(std::filesystem::exists(fixture.options.output / "enwik8.zip"));
  REQUIRE_FALSE(std::filesystem::exists(fixture.options.output / "enwik8.zip.part"));
}

TEST_CASE("a download that is not Enwik8 is removed", "[data][prepare][download]") {
  Fixture fixture;
  std::string changed = fixture.text;
  changed[100] = '#';
  const std::vector<std::pair<std::filesystem::path, std::string>> downloads = {
      {fixture.write("page", "<html>Log in to this network first</html>"), "it is no archive"},
      {fixture.write_archive("part.zip", "enwik8", fixture.text.substr(0, 2000)), "has 2000 bytes"},
      {fixture.write_archive("changed.zip", "enwik8", changed), "SHA-1"},
  };
  for (const auto& [content, reason] : downloads) {
    fixture.options.url = "file://" + content.string();
    const std::string message = error_of([&] { prepare_large_text(fixture.options); });
    REQUIRE_THAT(message, ContainsSubstring(reason) && ContainsSubstring("has been removed"));
    REQUIRE(std::filesystem::is_empty(fixture.options.output));
  }
}

TEST_CASE("an archive that is already in the folder is used and never removed",
          "[data][prepare][download]") {
  Fixture fixture;
  make_folder(fixture.options.output);
  SECTION("when it is good") {
    fixture.write_archive("corpus/enwik8.zip", "enwik8", fixture.text);
    prepare_large_text(fixture.options);
    fixture.require_prepared();
  }
  SECTION("when it is not") {
    fixture.write("corpus/enwik8.zip", "something else");
    REQUIRE_THAT(error_of([&] { prepare_large_text(fixture.options); }),
                 ContainsSubstring("delete it and run the command again"));
    fixture.require_not_prepared();
  }
  REQUIRE(std::filesystem::exists(fixture.options.output / "enwik8.zip"));
}

TEST_CASE("any text can be prepared under a name", "[data][prepare]") {
  const Fixture fixture;
  TextOptions options{.source = fixture.write("a tale.txt", fixture.text),
                      .output = fixture.folder / "tale",
                      .name = ""};
  REQUIRE(prepare_text(options).manifest.name == "a tale");
  REQUIRE(prepare_text(options).already_there);
  REQUIRE(Corpus::open(options.output.string()).split(Split::test).size() == 200);

  options.name = "tale";
  options.output = fixture.folder / "named";
  REQUIRE(prepare_text(options).manifest.name == "tale");

  options.source = fixture.write("empty.txt", "");
  options.output = fixture.folder / "empty";
  REQUIRE_THAT(error_of([&] { prepare_text(options); }), ContainsSubstring("has 0 bytes"));
}

TEST_CASE("an archive is taken as the folder it holds", "[data][prepare]") {
  const ArchiveKind kind = GENERATE(kZip, kTar, kTarXz);
  const TemporaryFolder folder;
  const std::string a = sample_text(700);
  const std::string b(500, 'b');
  const std::string c(400, 'c');
  TextOptions options{.source = {}, .output = folder / "corpus", .name = ""};
  const auto prepared_text = [&] {
    std::string text;
    for (const Split split : kSplits) {
      text += read_file(split_path(options.output, split, Unit::bytes));
    }
    return text;
  };
  SECTION("files at any depth are one text, in the order of their paths") {
    options.source = make_archive(
        folder / ("tree-1.2" + kind.extension), kind,
        {{"top/c", c}, {"top/b/b", b}, {"top/a", a}, {"top/aa", "-> a"}, {"top/b.c", "d"}});
    const std::string whole = a + b + "d" + c;
    options.bytes = GENERATE(std::uint64_t{0}, std::uint64_t{1100});
    const PreparedCorpus prepared = prepare_text(options);
    REQUIRE(prepared.manifest.name == "tree-1.2");
    REQUIRE(prepared.files == (options.bytes == 0 ? 4 : 2));
    REQUIRE(prepared_text() == whole.substr(0, options.bytes == 0 ? whole.size() : 1100));
    REQUIRE(prepare_text(options).already_there);
    for (const auto& entry : std::filesystem::directory_iterator(options.output)) {
      REQUIRE_FALSE(entry.is_directory());
    }
  }
  SECTION("three files are the splits") {
    options.source = make_archive(folder / ("splits" + kind.extension), kind,
                                  {{"x/dev.txt", b}, {"x/test.txt", c}, {"x/train.txt", a}});
    prepare_text(options);
    REQUIRE(prepared_text() == a + b + c);
    REQUIRE(read_file(options.output / "dev.bytes") == b);
  }
  SECTION("one that is damaged leaves nothing behind") {
    options.source =
        make_archive(folder / ("cut" + kind.extension), kind, {{"a", a}, {"b", sample_text(9000)}});
    std::filesystem::resize_file(options.source, std::filesystem::file_size(options.source) / 2);
    REQUIRE_THAT(error_of([&] { prepare_text(options); }), ContainsSubstring("cut short"));
    REQUIRE(std::filesystem::is_empty(options.output));
  }
}

TEST_CASE("a name that is not UTF-8 still makes a corpus", "[data][prepare]") {
  const Fixture fixture;
  const TextOptions options{.source = fixture.write("caf\xe9.txt", fixture.text),
                            .output = fixture.folder / "cafe",
                            .name = ""};
  prepare_text(options);
  REQUIRE_NOTHROW(Corpus::open(options.output.string()));
}

TEST_CASE("an output that cannot be written is explained", "[data][prepare]") {
  Fixture fixture;
  fixture.options.source = fixture.write("data", fixture.text);
  fixture.options.output = fixture.options.source;  // a file, not a folder
  REQUIRE_THAT(error_of([&] { prepare_large_text(fixture.options); }),
               ContainsSubstring(fixture.options.source.string()));
  REQUIRE(read_file(fixture.options.source) == fixture.text);
}

TEST_CASE("a full disk is noticed before anything is written", "[data][prepare]") {
  const TemporaryFolder folder;
  REQUIRE_NOTHROW(require_free_space(folder.path(), 0));
  REQUIRE_THAT(error_of([&] {
                 require_free_space(folder.path(), std::numeric_limits<std::uint64_t>::max());
               }),
               ContainsSubstring(folder.path().string()) && ContainsSubstring("free some space"));
}

TEST_CASE("a corpus of another version of Rondo is not written over", "[data][prepare]") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", sample_text(4000));
  const TextOptions options{folder / "text", folder / "corpus"};
  prepare_text(options);
  std::string manifest = read_bytes(manifest_path(options.output));
  const std::string version = "\"version\": 1";
  REQUIRE(manifest.find(version) != std::string::npos);
  manifest.replace(manifest.find(version), version.size(), "\"version\": 2");
  write_bytes(manifest_path(options.output), manifest);
  REQUIRE_THAT(error_of([&] { prepare_text(options); }),
               ContainsSubstring("version 2") && ContainsSubstring("another folder"));
  REQUIRE(read_bytes(manifest_path(options.output)) == manifest);
}

TEST_CASE("the files below a folder are one text, in the order of their paths", "[data][prepare]") {
  const TemporaryFolder folder;
  make_folder(folder / "tree" / "b");
  make_folder(folder / "elsewhere");
  write_bytes(folder / "tree" / "c", std::string(400, 'c'));
  write_bytes(folder / "tree" / "a", std::string(700, 'a'));
  write_bytes(folder / "tree" / "b" / "b", std::string(500, 'b'));
  write_bytes(folder / "elsewhere" / "d", std::string(500, 'd'));
  std::filesystem::create_symlink(folder / "elsewhere" / "d", folder / "tree" / "aa");
  std::filesystem::create_directory_symlink(folder / "elsewhere", folder / "tree" / "bb");
  std::filesystem::create_symlink(folder / "tree" / "loop", folder / "tree" / "loop");
  const std::string whole = std::string(700, 'a') + std::string(500, 'b') + std::string(400, 'c');
  const auto prepared_text = [&](std::uint64_t bytes, std::size_t files) {
    std::filesystem::remove_all(folder / "corpus");
    const PreparedCorpus prepared = prepare_text({folder / "tree", folder / "corpus", "", bytes});
    REQUIRE(prepared.files == files);
    std::string text;
    for (const Split split : kSplits) {
      text += read_bytes(split_path(folder / "corpus", split, Unit::bytes));
    }
    return text;
  };
  REQUIRE(prepared_text(0, 3) == whole);
  REQUIRE(prepared_text(1100, 2) == whole.substr(0, 1100));
  REQUIRE(prepared_text(5000, 3) == whole);
  make_folder(folder / "empty");
  REQUIRE_THAT(error_of([&] {
                 prepare_text({folder / "empty", folder / "corpus2", "", 0});
               }),
               ContainsSubstring("a folder without files"));
}

TEST_CASE("a folder is prepared by one process at a time", "[data][prepare]") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", std::string(1000, 'a') + "b");
  const TextOptions options{.source = folder / "text", .output = folder / "corpus"};
  {
    const FileLock elsewhere = lock_output(options.output);
    REQUIRE_THAT(error_of([&] { prepare_text(options); }),
                 ContainsSubstring("is being prepared by another process"));
  }
  REQUIRE_NOTHROW(prepare_text(options));
}
