// A text as ids in a file: 32 bytes of header, then 2 or 4 bytes an id, little-endian.
//
//   bytes  0 to 7   "rondoids"
//          8 to 11  version of the format, 1
//         12 to 15  bytes an id: 2 where the vocabulary allows it, else 4
//         16 to 23  number of ids
//         24 to 31  size of the vocabulary
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "core/file.h"
#include "data/token_text.h"

namespace rondo {

// A file of ids mapped into memory: opening it reads the header alone.
class IdFile {
 public:
  // Throws Error for a file that is not one, of another version, cut short, or made for a
  // vocabulary of another size.
  IdFile(const std::filesystem::path& path, std::int64_t vocabulary_size);

  // Valid as long as this is.
  TokenText text() const { return text_; }
  std::span<const std::byte> bytes() const { return file_.bytes(); }

 private:
  MappedFile file_;
  TokenText text_;
};

// Bytes of a file of `count` ids.
std::uint64_t id_file_size(std::int64_t count, std::int64_t vocabulary_size);

// Writes a file of `count` ids atomically: `fill` is to call its argument with every id in order.
// Throws Error when it calls it another number of times or with an id out of range.
void write_id_file(const std::filesystem::path& path, std::int64_t count,
                   std::int64_t vocabulary_size,
                   const std::function<void(const std::function<void(std::int32_t)>& add)>& fill);

}  // namespace rondo
