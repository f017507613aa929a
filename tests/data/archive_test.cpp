#include "data/archive.h"

#include <locale.h>

#include <map>

#include "core/file.h"
#include "data/text_source.h"
#include "tests/data/archive_maker.h"
#include "tests/support/temporary_folder.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// Text that packs to about half: damage in the middle of an archive is damage to it.
std::string numbers(int seed, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += fmt::format("{} ", (static_cast<std::uint32_t>(i + seed) * 2654435761U) >> 8U);
  }
  return text;
}

const ArchiveKind kStoredTarGz = {".tar.gz", ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP,
                                  "gzip:compression-level=0"};
const ArchiveKind kStoredGz = {".gz", ARCHIVE_FORMAT_RAW, ARCHIVE_FILTER_GZIP,
                               "gzip:compression-level=0"};

const ArchiveFiles kFiles = {{"top/", ""},
                             {"top/b/two", numbers(2, 30000)},
                             {"./top/one", numbers(1, 20000)},
                             {"top/empty", ""},
                             {"top/link", "-> one"}};

std::string read_entry(const std::filesystem::path& path, const std::string& entry,
                       std::uint64_t most = 1U << 20U) {
  const std::vector<std::uint8_t> bytes = read_archive_entries(path, {&entry, 1}, most).front();
  return {bytes.begin(), bytes.end()};
}

// Relative paths and contents of all files below `folder`.
std::map<std::string, std::string> tree(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const std::filesystem::path& path : files_below(folder)) {
    files[path.lexically_relative(folder).string()] = read_bytes(path);
  }
  return files;
}

std::string with_flipped_bit(std::string bytes, std::size_t position) {
  bytes[position] = static_cast<char>(bytes[position] ^ 1);
  return bytes;
}

}  // namespace

TEST_CASE("archives of every kind are read", "[data][archive]") {
  const ArchiveKind kind = GENERATE(kZip, kStoredZip, kTar, kTarGz, kTarBz2, kTarXz, kTarZst);
  INFO(kind.extension);
  const TemporaryFolder folder;
  const auto path = make_archive(folder / ("data" + kind.extension), kind, kFiles);
  REQUIRE(is_archive(path));

  const std::vector<std::string> entries = {"top/one", "top/b/two", "top/empty"};
  const std::vector<std::vector<std::uint8_t>> contents =
      read_archive_entries(path, entries, 1U << 20U);
  REQUIRE(std::ranges::equal(contents[0], numbers(1, 20000)));
  REQUIRE(std::ranges::equal(contents[1], numbers(2, 30000)));
  REQUIRE(contents[2].empty());

  std::uint64_t done = 0;
  std::uint64_t ends = 0;
  unpack_archive(path, folder / "all", nullptr, [&](std::uint64_t bytes, std::uint64_t total) {
    REQUIRE(bytes >= done);
    done = bytes;
    ends += bytes == total ? 1 : 0;
  });
  REQUIRE(done == std::filesystem::file_size(path));
  REQUIRE(ends == 1);
  REQUIRE(tree(folder / "all") ==
          std::map<std::string, std::string>{
              {"top/b/two", numbers(2, 30000)}, {"top/empty", ""}, {"top/one", numbers(1, 20000)}});
  unpack_archive(path, folder / "some",
                 [](const std::string& name) { return name == "top/b/two"; });
  REQUIRE(tree(folder / "some") ==
          std::map<std::string, std::string>{{"top/b/two", numbers(2, 30000)}});
}

TEST_CASE("names are UTF-8, or the bytes they are", "[data][archive]") {
  const TemporaryFolder folder;
  const std::string utf8 = "caf\xc3\xa9/\xc3\xbc";
  const ArchiveKind pax = {".tar", ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, ARCHIVE_FILTER_NONE, ""};
  const ArchiveKind marked = {".zip", ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE,
                              "zip:hdrcharset=UTF-8"};
  // Writing such names needs a locale that has them; reading must not.
  const locale_t with_utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  REQUIRE(with_utf8 != nullptr);
  for (const ArchiveKind& kind : {kTar, pax, kZip, marked}) {
    INFO(kind.extension << " " << kind.format << " " << kind.options);
    const locale_t before = uselocale(with_utf8);
    const auto path = make_archive(folder / ("utf8" + kind.extension), kind, {{utf8, "text"}});
    uselocale(before);
    REQUIRE(read_entry(path, utf8) == "text");
    REQUIRE(uselocale(nullptr) == before);
  }
  freelocale(with_utf8);
  const auto path = make_archive(folder / "latin1.tar", kTar, {{"caf\xe9", "text"}});
  REQUIRE(read_entry(path, "caf\xe9") == "text");
}

TEST_CASE("one packed file is an archive of it", "[data][archive]") {
  const ArchiveKind kind = GENERATE(kGz, kXz);
  const TemporaryFolder folder;
  const std::string text = numbers(3, 200'000);  // longer than a block
  const auto path = make_archive(folder / ("book.txt" + kind.extension), kind, {{"", text}});
  REQUIRE(is_archive(path));
  REQUIRE(read_entry(path, "book.txt", text.size()) == text);
  REQUIRE_THAT(error_of([&] { read_entry(path, "book.txt", text.size() - 1); }),
               ContainsSubstring("\"book.txt\"") && ContainsSubstring(path.string()) &&
                   ContainsSubstring(fmt::format("longer than the {} bytes", text.size() - 1)));
  REQUIRE_THAT(error_of([&] { read_entry(path, "book"); }),
               ContainsSubstring("no entry \"book\"; it holds \"book.txt\""));
}

TEST_CASE("a file that is no archive is told from one", "[data][archive]") {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  for (const std::string_view text : {"", "PK", "BZh9 is no archive", "a text about ustar"}) {
    write_bytes(path, text);
    REQUIRE_FALSE(is_archive(path));
    REQUIRE_THAT(error_of([&] { read_entry(path, "file"); }),
                 ContainsSubstring(path.string()) && ContainsSubstring("as an archive"));
  }
  REQUIRE_THAT(error_of([&] { is_archive(folder / "none"); }), ContainsSubstring("none"));
  REQUIRE_THAT(error_of([&] { read_entry(folder / "none", "file"); }),
               ContainsSubstring("check the path"));
  REQUIRE_FALSE(is_archive_file(folder / "none"));
  REQUIRE_FALSE(is_archive_file(folder.path()));
}

TEST_CASE("an entry that is missing is told with those that are there", "[data][archive]") {
  const TemporaryFolder folder;
  ArchiveFiles files;
  for (int i = 0; i < 7; ++i) {
    files.emplace_back(fmt::format("file{}", i), "text");
  }
  const auto path = make_archive(folder / "data.tar.gz", kTarGz, files);
  const std::string list = "it holds \"file0\", \"file1\", \"file2\", \"file3\", \"file4\", ...";
  REQUIRE_THAT(error_of([&] { read_entry(path, "file9"); }),
               ContainsSubstring("no entry \"file9\"; " + list));
  REQUIRE_THAT(error_of([&] {
                 unpack_archive(path, folder / "out", [](const std::string&) { return false; });
               }),
               ContainsSubstring(list));
  REQUIRE_FALSE(std::filesystem::exists(folder / "out"));
  const auto empty = make_archive(folder / "empty.tar.gz", kTarGz, {});
  REQUIRE_THAT(error_of([&] { read_entry(empty, "x"); }), ContainsSubstring("it holds no files"));
}

TEST_CASE("an archive that was cut short is refused", "[data][archive]") {
  const ArchiveKind kind = GENERATE(kZip, kTar, kTarGz, kTarBz2, kTarXz, kTarZst, kGz, kXz);
  INFO(kind.extension);
  const TemporaryFolder folder;
  const bool single = kind.format == ARCHIVE_FORMAT_RAW;
  const auto path = make_archive(folder / ("data" + kind.extension), kind,
                                 single ? ArchiveFiles{{"", numbers(1, 20000)}} : kFiles);
  const std::string whole = read_bytes(path);
  // A tar as it is ends in nothing but zeros, which are not missed.
  const std::size_t last = kind.extension == ".tar" ? whole.size() / 2 : whole.size() - 1;
  for (const std::size_t size : {whole.size() / 3, whole.size() / 2, last}) {
    INFO(size << " of " << whole.size() << " bytes");
    write_bytes(path, whole.substr(0, size));
    const auto require_refused = [&](const std::function<void()>& body) {
      REQUIRE_THROWS_AS(body(), ArchiveError);
      REQUIRE_THAT(error_of(body),
                   ContainsSubstring(path.string()) && ContainsSubstring("cut short"));
    };
    require_refused([&] { read_entry(path, single ? "data" : "top/b/two"); });
    require_refused([&] { unpack_archive(path, folder / "out", nullptr); });
  }
}

TEST_CASE("damage that only a checksum can notice is noticed", "[data][archive]") {
  // Packed without being made smaller, where there is such a way.
  const ArchiveKind kind = GENERATE(kStoredZip, kStoredTarGz, kStoredGz, kTarBz2, kTarXz, kXz);
  INFO(kind.extension);
  const TemporaryFolder folder;
  const bool single = kind.format == ARCHIVE_FORMAT_RAW;
  const std::string entry = single ? "data" : "file";
  const auto path =
      make_archive(folder / ("data" + kind.extension), kind, {{entry, numbers(1, 20000)}});
  REQUIRE(read_entry(path, entry) == numbers(1, 20000));
  const std::string whole = read_bytes(path);
  write_bytes(path, with_flipped_bit(whole, whole.size() / 2 + 20));
  REQUIRE_THROWS_AS(read_entry(path, entry), ArchiveError);
  REQUIRE_THAT(error_of([&] { read_entry(path, entry); }),
               ContainsSubstring(path.string()) && ContainsSubstring("is damaged"));
  // Damage to an entry that nobody asked for damages the rest of a packed tar, too.
  if (!single && kind.format != ARCHIVE_FORMAT_ZIP) {
    REQUIRE_THROWS_AS(read_entry(path, "another"), ArchiveError);
  }
}

TEST_CASE("a checksum far behind the end of a tar is compared", "[data][archive]") {
  const TemporaryFolder folder;
  // Zeros that tar is filled up with, by more than is read at once.
  const std::string tar = read_bytes(make_archive(folder / "data.tar", kTar, {{"file", "text"}}));
  const auto path = make_archive(folder / "data.tar.gz", kStoredGz,
                                 {{"", tar + std::string(std::size_t{1} << 18U, '\0')}});
  REQUIRE(read_entry(path, "file") == "text");
  const std::string whole = read_bytes(path);
  write_bytes(path, with_flipped_bit(whole, whole.size() - 6));  // of the checksum itself
  REQUIRE_THROWS_AS(read_entry(path, "file"), ArchiveError);
}

TEST_CASE("nothing is written outside of the folder", "[data][archive]") {
  const ArchiveKind kind = GENERATE(kZip, kTar, kTarGz);
  const TemporaryFolder folder;
  const std::string absolute = (folder / "evil").string();
  for (const std::string& name :
       {std::string("../evil"), std::string("a/../../evil"), absolute, std::string(".."),
        std::string("a/.."), "./" + std::string("../evil")}) {
    INFO(kind.extension << " with " << name);
    const auto path =
        make_archive(folder / ("data" + kind.extension), kind, {{"good", "text"}, {name, "text"}});
    const auto unpack = [&] { unpack_archive(path, folder / "out", nullptr); };
    REQUIRE_THROWS_AS(unpack(), ArchiveError);
    REQUIRE_THAT(error_of(unpack), ContainsSubstring("would lie outside of the folder"));
    REQUIRE_FALSE(std::filesystem::exists(folder / "evil"));
  }
  // Nor by way of a link to elsewhere.
  make_folder(folder / "elsewhere");
  std::filesystem::remove_all(folder / "out");
  const auto path =
      make_archive(folder / "link.tar", kTar,
                   {{"link", "-> " + (folder / "elsewhere").string()}, {"link/evil", "text"}});
  unpack_archive(path, folder / "out", nullptr);
  REQUIRE(std::filesystem::is_empty(folder / "elsewhere"));
  REQUIRE(tree(folder / "out") == std::map<std::string, std::string>{{"link/evil", "text"}});
}

TEST_CASE("an archive is unpacked for as long as it is read", "[data][archive]") {
  const TemporaryFolder folder;
  const auto path = make_archive(folder / "data.tar.gz", kTarGz, kFiles);
  const auto scratch = folder / "data.tar.gz.unpacked";
  make_folder(scratch);  // left by a process that was killed
  write_bytes(scratch / "old", "text");
  {
    const UnpackedSource source(path, folder.path());
    REQUIRE(source.path() == scratch / "top");  // the folder that the archive holds
    REQUIRE(tree(scratch).size() == 3);
  }
  REQUIRE_FALSE(std::filesystem::exists(scratch));
  const std::string whole = read_bytes(path);
  write_bytes(path, whole.substr(0, whole.size() / 2));
  REQUIRE_THROWS_AS(UnpackedSource(path, folder.path()), ArchiveError);
  REQUIRE_FALSE(std::filesystem::exists(scratch));

  const auto two = make_archive(folder / "two.zip", kZip, {{"a/x", "text"}, {"b/x", "text"}});
  REQUIRE(UnpackedSource(two, folder.path()).path() == folder / "two.zip.unpacked");
  write_bytes(folder / "text", "text");
  REQUIRE(UnpackedSource(folder / "text", folder.path()).path() == folder / "text");
  REQUIRE(UnpackedSource(folder.path(), folder.path()).path() == folder.path());
}

TEST_CASE("a corpus is called after its source", "[data][archive]") {
  const TemporaryFolder folder;
  make_folder(folder / "linux-6.1");
  REQUIRE(corpus_name(folder / "linux-6.1") == "linux-6.1");
  REQUIRE(corpus_name(folder / "linux-6.1/") == "linux-6.1");
  REQUIRE(corpus_name("linux-6.1.tar.xz") == "linux-6.1");
  REQUIRE(corpus_name("linux-6.1.zip") == "linux-6.1");
  REQUIRE(corpus_name("book.txt.gz") == "book");
  REQUIRE(corpus_name("data/book.txt") == "book");
}
