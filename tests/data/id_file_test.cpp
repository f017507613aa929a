#include "data/id_file.h"

#include <cstring>

#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Ids = std::vector<std::int32_t>;

void write_ids(const std::filesystem::path& path, const Ids& ids, std::int64_t vocabulary_size) {
  write_id_file(path, static_cast<std::int64_t>(ids.size()), vocabulary_size, [&](const auto& add) {
    for (const std::int32_t id : ids) {
      add(id);
    }
  });
}

Ids read_ids(const TokenText& text) {
  Ids ids(static_cast<std::size_t>(text.size()));
  text.write(0, text.size(), ids.data(), 1);
  return ids;
}

}  // namespace

TEST_CASE("ids are read as they were written, in 2 bytes or 4", "[data][ids]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "a.ids";
  for (const std::int64_t size : {3, 65536, 65537, 267735}) {
    INFO("vocabulary of " << size);
    const auto last = static_cast<std::int32_t>(size - 1);
    const Ids ids = {0, last, 1, last, 2};
    write_ids(path, ids, size);
    REQUIRE(std::filesystem::file_size(path) == 32 + 5 * (size > 65536 ? 4 : 2));
    REQUIRE(id_file_size(5, size) == std::filesystem::file_size(path));
    REQUIRE(read_ids(IdFile(path, size).text()) == ids);
  }
  write_ids(path, {}, 7);
  REQUIRE(IdFile(path, 7).text().size() == 0);
  // More than the writer keeps at a time.
  Ids many(200'001);
  for (std::size_t i = 0; i < many.size(); ++i) {
    many[i] = static_cast<std::int32_t>(i * i % 70'000);
  }
  write_ids(path, many, 70'000);
  REQUIRE(read_ids(IdFile(path, 70'000).text()) == many);
}

TEST_CASE("parts of a text are read where they are", "[data][ids]") {
  const TemporaryFolder folder;
  write_ids(folder / "a.ids", {5, 6, 7, 8, 9}, 10);
  const IdFile file(folder / "a.ids", 10);
  Ids strided(4, -1);
  file.text().write(1, 2, strided.data(), 2);
  REQUIRE(strided == Ids{6, -1, 7, -1});
  REQUIRE(read_ids(file.text().first(3)) == Ids{5, 6, 7});
  REQUIRE(file.text().first(99).size() == 5);
  const auto error_for = [&](std::int64_t start, std::int64_t count) {
    Ids to(8);
    return error_of([&] { file.text().first(3).write(start, count, to.data(), 1); });
  };
  for (const auto& [start, count] : {std::pair{2, 2}, {4, 0}, {-1, 1}, {0, -1}}) {
    INFO(start << " " << count);
    REQUIRE_THAT(error_for(start, count), ContainsSubstring("there are 3"));
  }
}

TEST_CASE("writing ids holds to what was said", "[data][ids]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "a.ids";
  REQUIRE_THAT(error_of([&] {
                 write_ids(path, {1, 2, 3}, 3);
               }),
               ContainsSubstring("id 3 at position 2") && ContainsSubstring("vocabulary of 3"));
  REQUIRE_THAT(error_of([&] { write_ids(path, {1, -1}, 3); }), ContainsSubstring("id -1"));
  REQUIRE_THAT(error_of([&] { write_id_file(path, 2, 3, [](const auto& add) { add(1); }); }),
               ContainsSubstring("1 ids were written") && ContainsSubstring("expected 2"));
  REQUIRE_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a file that is not what it says is refused when it is opened", "[data][ids]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "a.ids";
  write_ids(path, {1, 2, 3}, 10);
  const std::string good = read_bytes(path);
  const auto error_with = [&](const std::string& bytes, std::int64_t vocabulary_size = 10) {
    write_bytes(path, bytes);
    const std::string message = error_of([&] { IdFile(path, vocabulary_size); });
    REQUIRE_THAT(message, ContainsSubstring("a.ids") && ContainsSubstring("prepare the corpus"));
    return message;
  };
  const auto with = [&](std::size_t at, const auto& value) {
    std::string changed = good;
    std::memcpy(changed.data() + at, &value, sizeof(value));
    return changed;
  };
  REQUIRE_THAT(error_with(""), ContainsSubstring("0 bytes"));
  REQUIRE_THAT(error_with(good.substr(0, 31)), ContainsSubstring("31 bytes"));
  REQUIRE_THAT(error_with(with(0, 'R')), ContainsSubstring("does not begin with"));
  REQUIRE_THAT(error_with(with(8, std::uint32_t{2})), ContainsSubstring("version 2"));
  REQUIRE_THAT(error_with(with(12, std::uint32_t{4})), ContainsSubstring("4 bytes an id"));
  REQUIRE_THAT(error_with(with(16, std::uint64_t{4})), ContainsSubstring("has 4 ids"));
  REQUIRE_THAT(error_with(with(16, ~std::uint64_t{0})), ContainsSubstring("hold 3"));
  REQUIRE_THAT(error_with(good.substr(0, good.size() - 1)), ContainsSubstring("cut short"));
  REQUIRE_THAT(error_with(good.substr(0, good.size() - 2)), ContainsSubstring("hold 2"));
  REQUIRE_THAT(error_with(good + "x"), ContainsSubstring("cut short or changed"));
  REQUIRE_THAT(error_with(good, 11),
               ContainsSubstring("vocabulary of 10, the corpus has one of 11"));
}

TEST_CASE("an id out of range is found when it is read", "[data][ids]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "a.ids";
  for (const std::int64_t size : {10, 100'000}) {
    write_ids(path, {1, 2, 3}, size);
    std::string bytes = read_bytes(path);
    const auto bad = static_cast<std::uint32_t>(size);
    const std::size_t width = size > 65536 ? 4 : 2;
    std::memcpy(bytes.data() + 32 + width, &bad, width);
    write_bytes(path, bytes);
    const IdFile file(path, size);
    std::int32_t id = 0;
    file.text().write(0, 1, &id, 1);
    REQUIRE(id == 1);
    REQUIRE_THAT(error_of([&] { file.text().write(1, 1, &id, 1); }),
                 ContainsSubstring(fmt::format("id {} at position 1", size)) &&
                     ContainsSubstring("prepare it again"));
  }
}
