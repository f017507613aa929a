#include "trainers/tensorboard_writer.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <map>

#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// A reader that shares nothing with the writer: checksums bit by bit, numbers by memcpy (all our
// machines keep the lowest byte first).

std::uint32_t slow_crc32c(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0x82F63B78U : crc >> 1U;
    }
  }
  return crc ^ 0xFFFFFFFFU;
}

std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U; }

template <typename T>
T take(std::string& bytes) {
  REQUIRE(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.erase(0, sizeof(T));
  return value;
}

std::string take_bytes(std::string& bytes, std::uint64_t size) {
  REQUIRE(bytes.size() >= size);
  std::string taken = bytes.substr(0, size);
  bytes.erase(0, size);
  return taken;
}

std::vector<std::string> read_records(std::string file) {
  std::vector<std::string> records;
  while (!file.empty()) {
    const std::string length_bytes = file.substr(0, 8);
    const auto length = take<std::uint64_t>(file);
    REQUIRE(take<std::uint32_t>(file) == masked(slow_crc32c(length_bytes)));
    records.push_back(take_bytes(file, length));
    REQUIRE(take<std::uint32_t>(file) == masked(slow_crc32c(records.back())));
  }
  return records;
}

std::uint64_t take_varint(std::string& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = take<unsigned char>(bytes);
    value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
    if (byte < 0x80U) {
      return value;
    }
  }
}

// The fields of a message by number; each number at most once. Text and messages stay bytes.
struct Message {
  std::map<std::uint64_t, std::uint64_t> numbers;  // the bits of whatever the wire type is
  std::map<std::uint64_t, std::string> texts;
};

Message parse(std::string bytes) {
  Message message;
  while (!bytes.empty()) {
    const std::uint64_t key = take_varint(bytes);
    switch (key & 7U) {
      case 0:
        message.numbers[key >> 3U] = take_varint(bytes);
        break;
      case 1:
        message.numbers[key >> 3U] = take<std::uint64_t>(bytes);
        break;
      case 2:
        message.texts[key >> 3U] = take_bytes(bytes, take_varint(bytes));
        break;
      case 5:
        message.numbers[key >> 3U] = take<std::uint32_t>(bytes);
        break;
      default:
        FAIL("wire type " << (key & 7U));
    }
  }
  return message;
}

struct Scalar {
  std::string tag;
  std::int64_t step;
  float value;
  double wall_time;
};

Scalar read_scalar(const std::string& record) {
  const Message event = parse(record);
  const Message value = parse(parse(event.texts.at(5)).texts.at(1));
  return {value.texts.at(1), static_cast<std::int64_t>(event.numbers.at(2)),
          std::bit_cast<float>(static_cast<std::uint32_t>(value.numbers.at(2))),
          std::bit_cast<double>(event.numbers.at(1))};
}

}  // namespace

TEST_CASE("crc32c gives the published values", "[trainers][tensorboard][cpu]") {
  REQUIRE(crc32c("") == 0U);
  REQUIRE(crc32c("123456789") == 0xE3069283U);
  // RFC 3720, appendix B.4.
  REQUIRE(crc32c(std::string(32, '\0')) == 0x8A9136AAU);
  REQUIRE(crc32c(std::string(32, '\xff')) == 0x62A8AB43U);
}

TEST_CASE("an event file holds its version and then the scalars", "[trainers][tensorboard][cpu]") {
  const TemporaryFolder folder;
  const std::string long_tag = "train/" + std::string(300, 'x');  // a length of two bytes
  std::filesystem::path path;
  {
    TensorBoardWriter writer(folder.path() / "new" / "tensorboard");
    path = writer.path();
    const std::chrono::system_clock::time_point time(std::chrono::milliseconds(1700000000250));
    writer.scalar("dev/bpc", 2.5, 300, time);
    writer.scalar(long_tag, -0.125, std::int64_t{1} << 40, time);
    writer.scalar("train/loss", std::nan(""), 0);
    // Nothing waits in the program: the file is whole while the writer lives.
    REQUIRE(read_records(read_file(path)).size() == 5);
    writer.flush();
  }
  REQUIRE(path.parent_path() == folder.path() / "new" / "tensorboard");
  REQUIRE(path.filename().string().rfind("events.out.tfevents.", 0) == 0);

  const std::vector<std::string> records = read_records(read_file(path));
  REQUIRE(records.size() == 5);
  REQUIRE(parse(records[0]).texts.at(3) == "brain.Event:2");
  REQUIRE(parse(records[1]).numbers.at(2) == 1);  // whatever was said before of steps from 1
  const Scalar first = read_scalar(records[2]);
  REQUIRE(first.tag == "dev/bpc");
  REQUIRE(first.step == 300);
  REQUIRE(first.value == 2.5F);
  REQUIRE(std::abs(first.wall_time - 1700000000.25) < 1e-5);
  const Scalar second = read_scalar(records[3]);
  REQUIRE(second.tag == long_tag);
  REQUIRE(second.step == std::int64_t{1} << 40);
  REQUIRE(second.value == -0.125F);
  REQUIRE(std::isnan(read_scalar(records[4]).value));
}

TEST_CASE("a resumed run starts another event file that withdraws later steps",
          "[trainers][tensorboard][cpu]") {
  const TemporaryFolder folder;
  TensorBoardWriter first(folder.path());
  first.scalar("dev/bpc", 2.5, 300);
  const std::string before = read_file(first.path());

  const TensorBoardWriter second(folder.path(), 200);  // most likely within the same second
  REQUIRE(second.path() != first.path());
  REQUIRE(read_file(first.path()) == before);
  const std::vector<std::string> records = read_records(read_file(second.path()));
  REQUIRE(records.size() == 2);
  const Message start = parse(records[1]);
  REQUIRE(start.numbers.at(2) == 201);
  REQUIRE(parse(start.texts.at(7)).numbers.at(1) == 1);
}

TEST_CASE("an event file that cannot be made is explained", "[trainers][tensorboard][cpu]") {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "taken", "not a folder");
  REQUIRE_THAT(error_of([&] { TensorBoardWriter writer(folder.path() / "taken" / "events"); }),
               ContainsSubstring("cannot create folder"));
}
