#include "core/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "core/safetensors_header.h"

namespace rondo {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format is little-endian and is used without conversion");

constexpr std::size_t kLengthBytes = 8;

// The bytes of the header, without its length. Throws unless they can be one.
std::string_view header_text(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  check(!bytes.empty(), "cannot read {}: the file is empty; copy or write it again", path.string());
  if (bytes.size() < kLengthBytes) {
    detail::fail_damaged(path, fmt::format("a safetensors file starts with {} bytes that hold the "
                                           "length of its header, the file has {}",
                                           kLengthBytes, bytes.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const auto* const first = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  if (length == 0 || length > detail::kMaxSafetensorsHeader) {
    detail::fail_damaged(path, fmt::format("its first 8 bytes promise a header of {} bytes; "
                                           "expected 2 to {}",
                                           length, detail::kMaxSafetensorsHeader));
  }
  check(length <= bytes.size() - kLengthBytes,
        "cannot read {}: the file is cut short: it promises a header of {} bytes, the file has {} "
        "beside the length; copy it again",
        path.string(), length, bytes.size() - kLengthBytes);
  const std::string_view text(first, length);
  if (text.front() != '{') {
    detail::fail_damaged(path, "its header does not start with '{'");
  }
  return text;
}

// A bool of any other value than these two must never be looked at.
void check_booleans(std::span<const std::byte> elements, std::string_view name,
                    const std::filesystem::path& path) {
  for (const std::byte element : elements) {
    if (element > std::byte{1}) {
      detail::fail_damaged(
          path, fmt::format("tensor {} of dtype BOOL holds the byte {}; expected 0 or 1",
                            detail::quoted_for_message(name), std::to_integer<int>(element)));
    }
  }
}

std::string header_of(std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::string header = "{";
  const auto add = [&](const std::string& key, const std::string& value) {
    header += fmt::format("{}{}:{}", header.size() == 1 ? "" : ",", key, value);
  };
  if (!metadata.empty()) {
    std::string values;
    for (const auto& [key, value] : metadata) {
      values += fmt::format("{}{}:{}", values.empty() ? "" : ",", detail::quoted(key),
                            detail::quoted(value));
    }
    add(detail::quoted(detail::kSafetensorsMetadata), "{" + values + "}");
  }
  std::set<std::string_view> seen;
  std::size_t begin = 0;
  for (const auto& [name, tensor] : tensors) {
    check(name != detail::kSafetensorsMetadata && seen.insert(name).second, "the name {} {}",
          detail::quoted_for_message(name),
          name == detail::kSafetensorsMetadata ? "is reserved by the format" : "was given twice");
    check(tensor.defined() && !tensor.device().is_meta(), "tensor {} has no elements",
          detail::quoted_for_message(name));
    const std::size_t end = begin + tensor.bytes();
    add(detail::quoted(name),
        fmt::format(R"({{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                    detail::to_safetensors_dtype(tensor.dtype()),
                    fmt::join(tensor.shape().begin(), tensor.shape().end(), ","), begin, end));
    begin = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  check(header.size() <= detail::kMaxSafetensorsHeader,
        "the header takes {} bytes, more than the {} of the format", header.size(),
        detail::kMaxSafetensorsHeader);
  return header;
}

}  // namespace

struct SafetensorsFile::Contents {
  std::filesystem::path path;
  std::shared_ptr<const MappedFile> mapping;
  std::size_t data_start = 0;
  detail::SafetensorsHeader header;
};

SafetensorsFile::SafetensorsFile(std::shared_ptr<const Contents> contents)
    : contents_(std::move(contents)) {}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto contents = std::make_shared<Contents>();
  contents->path = path;
  contents->mapping = std::make_shared<const MappedFile>(path);
  const auto bytes = contents->mapping->bytes();
  const std::string_view text = header_text(bytes, path);
  contents->data_start = kLengthBytes + text.size();
  contents->header =
      detail::parse_safetensors_header(text, bytes.size() - contents->data_start, path);
  return SafetensorsFile(std::move(contents));
}

const std::filesystem::path& SafetensorsFile::path() const { return contents_->path; }

const std::vector<std::string>& SafetensorsFile::names() const { return contents_->header.names; }

bool SafetensorsFile::contains(std::string_view name) const {
  return contents_->header.entries.contains(name);
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return contents_->header.metadata;
}

Tensor SafetensorsFile::tensor(std::string_view name) const {
  const std::string file = path().string();
  const auto found = contents_->header.entries.find(name);
  check(found != contents_->header.entries.end(),
        "cannot read {}: it holds no tensor {} among its {}", file,
        detail::quoted_for_message(name), names().size());
  const detail::SafetensorsEntry& entry = found->second;
  const auto dtype = detail::from_safetensors_dtype(entry.dtype);
  check(dtype.has_value(),
        "cannot read {}: tensor {} has dtype {}; expected F32, F64, BF16, F16, I32, I64, U8 or "
        "BOOL: convert it first",
        file, detail::quoted_for_message(name), entry.dtype);
  check(entry.shape.size() <= static_cast<std::size_t>(Shape::kMaxRank),
        "cannot read {}: tensor {} has {} dimensions; expected at most {}", file,
        detail::quoted_for_message(name), entry.shape.size(), Shape::kMaxRank);
  const std::vector<std::int64_t> sizes(entry.shape.begin(), entry.shape.end());
  const Shape shape{std::span<const std::int64_t>(sizes)};

  const auto elements = contents_->mapping->bytes().subspan(contents_->data_start + entry.begin,
                                                            entry.end - entry.begin);
  if (dtype == DType::boolean) {
    check_booleans(elements, name, path());
  }
  if (reinterpret_cast<std::uintptr_t>(elements.data()) % size_of(*dtype) != 0) {
    Tensor copy = Tensor::empty(shape, *dtype);
    std::copy(elements.begin(), elements.end(), static_cast<std::byte*>(copy.raw()));
    return copy;
  }
  // The tensor is read-only by contract; only its type cannot say so.
  return Tensor::wrap(const_cast<std::byte*>(elements.data()), shape, *dtype,
                      std::const_pointer_cast<MappedFile>(contents_->mapping));
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::string header;
  try {
    header = header_of(tensors, metadata);
  } catch (const Error& error) {
    fail("cannot write {}: {}", path.string(), error.what());
  }
  const std::uint64_t length = header.size();
  write_file_atomically(path, [&](FileWriter& writer) {
    writer.write(std::as_bytes(std::span(&length, 1)));
    writer.write(header);
    for (const NamedTensor& named : tensors) {
      const Tensor elements = named.tensor.to(Device::cpu());
      writer.write({static_cast<const std::byte*>(elements.raw()), elements.bytes()});
    }
  });
}

}  // namespace rondo
