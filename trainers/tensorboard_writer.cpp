#include "trainers/tensorboard_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <string>

namespace rondo {
namespace {

using Clock = std::chrono::system_clock;

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
    }
    table[byte] = crc;
  }
  return table;
}

// The checksum as records store it: turned and shifted, because a checksum over bytes that hold
// their own checksum would be weak.
std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8U;
}

template <typename Word>
void put_little_endian(std::string& out, Word word) {
  for (std::size_t byte = 0; byte < sizeof(Word); ++byte) {
    out.push_back(static_cast<char>((word >> (8 * byte)) & 0xFFU));
  }
}

// What events need of protobuf's wire format. A field is a key, 8 * number + wire type, and a
// value: a varint (type 0), 8 bytes (1), 4 bytes (5), or bytes behind their length (2), which is
// how both text and nested messages are kept.
void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) {
    out.push_back(static_cast<char>((value & 0x7FU) | 0x80U));
  }
  out.push_back(static_cast<char>(value));
}

void put_key(std::string& out, std::uint64_t number, std::uint64_t wire_type) {
  put_varint(out, 8 * number + wire_type);
}

void put_integer(std::string& out, std::uint64_t number, std::int64_t value) {
  put_key(out, number, 0);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_double(std::string& out, std::uint64_t number, double value) {
  put_key(out, number, 1);
  put_little_endian(out, std::bit_cast<std::uint64_t>(value));
}

void put_float(std::string& out, std::uint64_t number, float value) {
  put_key(out, number, 5);
  put_little_endian(out, std::bit_cast<std::uint32_t>(value));
}

void put_bytes(std::string& out, std::uint64_t number, std::string_view value) {
  put_key(out, number, 2);
  put_varint(out, value.size());
  out.append(value);
}

// message Event { double wall_time = 1; int64 step = 2; one of: string file_version = 3,
//                 Summary summary = 5, SessionLog session_log = 7 }
enum class Payload : std::uint64_t { file_version = 3, summary = 5, session_log = 7 };

std::string encode_event(Clock::time_point wall_time, std::int64_t step, Payload kind,
                         std::string_view payload) {
  std::string event;
  put_double(event, 1, std::chrono::duration<double>(wall_time.time_since_epoch()).count());
  put_integer(event, 2, step);
  put_bytes(event, static_cast<std::uint64_t>(kind), payload);
  return event;
}

// message Summary { repeated Value value = 1 }
// message Value { string tag = 1; float simple_value = 2 }
std::string encode_scalar(std::string_view tag, double value) {
  std::string encoded;
  put_bytes(encoded, 1, tag);
  put_float(encoded, 2, static_cast<float>(value));
  std::string summary;
  put_bytes(summary, 1, encoded);
  return summary;
}

// message SessionLog { SessionStatus status = 1 }, where START = 1: TensorBoard then drops events
// of earlier files from the step of this event on.
std::string encode_session_start() {
  std::string log;
  put_integer(log, 1, 1);
  return log;
}

// Makes the folder and names a file in it that does not exist yet. TensorBoard reads files in the
// order of their names, so the time comes first.
std::filesystem::path new_event_path(const std::filesystem::path& folder) {
  make_folder(folder);
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') {
    host = {"localhost"};
  }
  const auto time =
      std::chrono::duration_cast<std::chrono::seconds>(Clock::now().time_since_epoch());
  const std::string name =
      fmt::format("events.out.tfevents.{:010}.{}.{}", time.count(), host.data(), ::getpid());
  std::filesystem::path path = folder / name;
  for (int copy = 1; std::filesystem::exists(path); ++copy) {
    path = folder / fmt::format("{}.{}", name, copy);
  }
  return path;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = crc_table();
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc = (crc >> 8U) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU];
  }
  return ~crc;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder, std::int64_t step)
    : path_(new_event_path(folder)), file_(path_, FileWriter::Mode::truncate) {
  write_record(encode_event(Clock::now(), 0, Payload::file_version, "brain.Event:2"));
  // Also at step 0: what a killed run wrote before its first checkpoint is withdrawn, too.
  write_record(encode_event(Clock::now(), step + 1, Payload::session_log, encode_session_start()));
}

void TensorBoardWriter::scalar(std::string_view tag, double value, std::int64_t step,
                               Clock::time_point wall_time) {
  write_record(encode_event(wall_time, step, Payload::summary, encode_scalar(tag, value)));
}

void TensorBoardWriter::flush() { file_.sync(); }

// A record is the length of the data (8 bytes), the checksum of the length, the data, and the
// checksum of the data (4 bytes each); numbers have their lowest byte first.
void TensorBoardWriter::write_record(std::string_view data) {
  std::string record;
  put_little_endian(record, static_cast<std::uint64_t>(data.size()));
  put_little_endian(record, masked_crc(record));
  record.append(data);
  put_little_endian(record, masked_crc(data));
  file_.write(record);
}

}  // namespace rondo
