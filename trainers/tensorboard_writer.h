// Scalars for TensorBoard, written without TensorFlow: an event file is a sequence of records, each
// a protobuf message between checksums.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "core/file.h"

namespace rondo {

// Writes one event file. Every record reaches the system with one write, so that a reader beside
// the training run never waits and an interrupted run loses nothing.
class TensorBoardWriter {
 public:
  // Starts a new file events.out.tfevents.<unix time>.<host>.<process> in `folder`, which is made
  // where it is missing. `step` is where the run stands: TensorBoard is told to forget what earlier
  // files in the folder say of later steps. Throws Error when the file cannot be written, here and
  // below.
  explicit TensorBoardWriter(const std::filesystem::path& folder, std::int64_t step = 0);

  // One point of the curve `tag` ("train/bpc"; the part before the slash groups curves). The value
  // is stored as a float, which is what TensorBoard shows.
  void scalar(std::string_view tag, double value, std::int64_t step,
              std::chrono::system_clock::time_point wall_time = std::chrono::system_clock::now());

  // Waits until everything written is on the disk.
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(std::string_view data);

  std::filesystem::path path_;
  FileWriter file_;
};

// CRC-32C (Castagnoli), the checksum of event files: 0xE3069283 for "123456789".
std::uint32_t crc32c(std::string_view bytes);

}  // namespace rondo
