// The safetensors file format: named tensors that can be read without trusting the file.
// Layout: 8 bytes with the length of the header (little-endian), the header (JSON), the elements.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace rondo {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// A safetensors file mapped into memory. A handle: copies share the mapping.
class SafetensorsFile {
 public:
  // Checks the whole header before anything is allocated from it: its length, its JSON, that every
  // name stands once, that shape and dtype of each tensor give the size of its data, and that the
  // data of all tensors fill the rest of the file without overlap or hole. Throws Error naming the
  // file, the tensor, what was expected and what was found.
  //
  // What the format allows but a Tensor cannot hold (I8, U16, F8_E4M3, ..., more than 6
  // dimensions) is an error of tensor(), so that the other tensors of such a file can be read.
  static SafetensorsFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const;
  // In the order of the data.
  const std::vector<std::string>& names() const;
  bool contains(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const;

  // The tensor on the CPU, not to be written to: its elements are those of the mapped file, which
  // stays mapped while the tensor lives. They are a copy only where the file does not align them.
  // The file may be replaced or removed meanwhile, but not changed in place.
  Tensor tensor(std::string_view name) const;

 private:
  struct Contents;
  explicit SafetensorsFile(std::shared_ptr<const Contents> contents);

  std::shared_ptr<const Contents> contents_;
};

// Writes `tensors` in the given order, so that `path` holds its old content or all of the new. The
// same input gives the same bytes. The data starts at a multiple of 8 bytes: every tensor is
// aligned as long as those of wider types come first. Throws Error for a name that is given twice,
// is not UTF-8 or is "__metadata__", and when the file cannot be written.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace rondo
