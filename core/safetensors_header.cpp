#include "core/safetensors_header.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <tuple>

#include "core/error.h"

namespace rondo::detail {
namespace {

// Every type of the format with its width. Some pack several elements into a byte.
struct FormatType {
  std::string_view name;
  std::uint64_t bits;
  std::optional<DType> dtype;
};
constexpr std::array kFormatTypes = {
    FormatType{"F32", 32, DType::f32},
    FormatType{"F64", 64, DType::f64},
    FormatType{"BF16", 16, DType::bf16},
    FormatType{"F16", 16, DType::f16},
    FormatType{"I32", 32, DType::i32},
    FormatType{"I64", 64, DType::i64},
    FormatType{"U8", 8, DType::u8},
    FormatType{"BOOL", 8, DType::boolean},
    FormatType{"I8", 8, std::nullopt},
    FormatType{"I16", 16, std::nullopt},
    FormatType{"U16", 16, std::nullopt},
    FormatType{"U32", 32, std::nullopt},
    FormatType{"U64", 64, std::nullopt},
    FormatType{"C64", 64, std::nullopt},
    FormatType{"F8_E5M2", 8, std::nullopt},
    FormatType{"F8_E4M3", 8, std::nullopt},
    FormatType{"F8_E8M0", 8, std::nullopt},
    FormatType{"F8_E4M3FNUZ", 8, std::nullopt},
    FormatType{"F8_E5M2FNUZ", 8, std::nullopt},
    FormatType{"F6_E2M3", 6, std::nullopt},
    FormatType{"F6_E3M2", 6, std::nullopt},
    FormatType{"F4", 4, std::nullopt},
};

const FormatType* find_type(std::string_view dtype) {
  const auto found = std::find_if(kFormatTypes.begin(), kFormatTypes.end(),
                                  [&](const FormatType& type) { return type.name == dtype; });
  return found == kFormatTypes.end() ? nullptr : &*found;
}

// Takes the header apart while nlohmann's parser walks over it. What the format does not have is
// refused where it stands, so nesting cannot grow deep and no tree of values is built.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(const std::filesystem::path& path, SafetensorsHeader& header)
      : path_(path), header_(header) {}

  bool null() override { refuse("null"); }
  bool boolean(bool value) override { refuse(value ? "true" : "false"); }
  bool number_float(double, const std::string& text) override { refuse(text); }
  bool number_integer(std::int64_t value) override { refuse(std::to_string(value)); }
  bool binary(nlohmann::json::binary_t&) override { refuse("binary data"); }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ == Place::shape) {
      entry_->shape.push_back(value);
    } else if (place_ == Place::offsets && offsets_read_ < 2) {
      (offsets_read_++ == 0 ? entry_->begin : entry_->end) = value;
    } else {
      refuse(std::to_string(value));
    }
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = value;
    } else if (place_ == Place::tensor && key_ == "dtype") {
      entry_->dtype = value;
    } else {
      refuse(quoted_for_message(value));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::start) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == kSafetensorsMetadata) {
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
      has_dtype_ = has_shape_ = has_offsets_ = false;
    } else {
      refuse("an object");
    }
    return true;
  }

  bool key(std::string& value) override {
    key_ = value;
    if (place_ == Place::top) {
      read_name();
    } else if (place_ == Place::metadata) {
      if (header_.metadata.contains(key_)) {
        fail_damaged(path_, fmt::format("__metadata__ holds {} twice", quoted_for_message(key_)));
      }
    } else {
      read_field();
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      if (!has_dtype_ || !has_shape_ || !has_offsets_) {
        fail_damaged(path_, fmt::format("{} has no {}", tensor(),
                                        !has_dtype_   ? "dtype"
                                        : !has_shape_ ? "shape"
                                                      : "data_offsets"));
      }
      place_ = Place::top;
    } else {
      place_ = place_ == Place::metadata ? Place::top : Place::start;
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
      offsets_read_ = 0;
    } else {
      refuse("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && offsets_read_ != 2) {
      refuse(fmt::format("{} of them", offsets_read_));
    }
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    fail_damaged(path_, fmt::format("the header is not valid JSON at its byte {}", position));
  }

 private:
  enum class Place { start, top, metadata, tensor, shape, offsets };

  void read_name() {
    if (key_ == kSafetensorsMetadata) {
      if (has_metadata_) {
        fail_damaged(path_, "__metadata__ stands twice in the header");
      }
      has_metadata_ = true;
      return;
    }
    const auto [position, added] = header_.entries.try_emplace(key_);
    name_ = key_;
    entry_ = &position->second;
    if (!added) {
      fail_damaged(path_, fmt::format("{} stands twice in the header", tensor()));
    }
  }

  void read_field() {
    bool* const seen = key_ == "dtype"          ? &has_dtype_
                       : key_ == "shape"        ? &has_shape_
                       : key_ == "data_offsets" ? &has_offsets_
                                                : nullptr;
    if (seen == nullptr) {
      fail_damaged(path_, fmt::format("{} has a field {}; expected dtype, shape and data_offsets",
                                      tensor(), quoted_for_message(key_)));
    }
    if (*seen) {
      fail_damaged(path_, fmt::format("{} has {} twice", tensor(), key_));
    }
    *seen = true;
  }

  std::string tensor() const { return "tensor " + quoted_for_message(name_); }

  [[noreturn]] void refuse(std::string_view found) const {
    std::string expected;
    if (place_ == Place::start) {
      expected = "the header must be one object";
    } else if (place_ == Place::metadata) {
      expected = fmt::format("value {} of __metadata__ must be a string", quoted_for_message(key_));
    } else if (place_ == Place::top) {
      expected = fmt::format("the description of {} must be an object", quoted_for_message(key_));
    } else if (place_ == Place::shape || key_ == "shape") {
      expected = fmt::format("the shape of {} must be an array of integers, 0 or more", tensor());
    } else if (place_ == Place::offsets || key_ == "data_offsets") {
      expected = fmt::format("the data_offsets of {} must be two integers, 0 or more", tensor());
    } else {
      expected = fmt::format("the dtype of {} must be a string", tensor());
    }
    fail_damaged(path_, fmt::format("{}, found {}", expected, found));
  }

  const std::filesystem::path& path_;
  SafetensorsHeader& header_;
  Place place_ = Place::start;
  std::string key_;
  std::string name_;
  SafetensorsEntry* entry_ = nullptr;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  int offsets_read_ = 0;
};

std::string shown_shape(const std::vector<std::uint64_t>& shape) {
  const auto shown = std::span(shape).first(std::min<std::size_t>(shape.size(), 8));
  return fmt::format("[{}{}]", fmt::join(shown, ", "), shown.size() < shape.size() ? ", ..." : "");
}

// Throws unless shape x dtype is the size of the data.
void check_size(const std::filesystem::path& path, const std::string& name,
                const SafetensorsEntry& entry) {
  const FormatType* const type = find_type(entry.dtype);
  if (type == nullptr) {
    fail_damaged(path, fmt::format("tensor {} has dtype {}, which the format does not have",
                                   quoted_for_message(name), quoted_for_message(entry.dtype)));
  }
  // Zero sizes make the product zero, so the limit is checked on the product of the others.
  constexpr std::uint64_t kMostBits = std::uint64_t{1} << 62;
  std::uint64_t bits = type->bits;
  bool empty = false;
  for (const std::uint64_t size : entry.shape) {
    empty = empty || size == 0;
    if (size != 0 && bits > kMostBits / size) {
      fail_damaged(path, fmt::format("tensor {} has a shape whose product is beyond 2^62 bits",
                                     quoted_for_message(name)));
    }
    bits *= std::max<std::uint64_t>(size, 1);
  }
  bits = empty ? 0 : bits;
  if (entry.end < entry.begin || bits % 8 != 0 || bits / 8 != entry.end - entry.begin) {
    fail_damaged(path, fmt::format("tensor {} of shape {} and dtype {} takes {} bytes, but its "
                                   "data_offsets are [{}, {}]",
                                   quoted_for_message(name), shown_shape(entry.shape), entry.dtype,
                                   (bits + 7) / 8, entry.begin, entry.end));
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::filesystem::path& path) {
  SafetensorsHeader header;
  HeaderReader reader(path, header);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);

  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string_view>> spans;
  std::uint64_t promised = 0;
  for (const auto& [name, entry] : header.entries) {
    check_size(path, name, entry);
    spans.emplace_back(entry.begin, entry.end, name);
    promised = std::max(promised, entry.end);
  }
  check(promised <= data_bytes,
        "cannot read {}: the file is cut short: its header promises {} bytes of data, the file has "
        "{}; copy it again",
        path.string(), promised, data_bytes);

  std::sort(spans.begin(), spans.end());
  std::uint64_t expected = 0;
  for (const auto& [begin, end, name] : spans) {
    if (begin != expected) {
      fail_damaged(path, fmt::format("the data of tensor {} starts at byte {}; expected {}, where "
                                     "the tensor before it ends ({})",
                                     quoted_for_message(name), begin, expected,
                                     begin < expected ? "they overlap" : "there is a hole"));
    }
    expected = end;
    header.names.emplace_back(name);
  }
  if (expected != data_bytes) {
    fail_damaged(path, fmt::format("the data ends at byte {}, but {} bytes follow the header",
                                   expected, data_bytes));
  }
  return header;
}

std::optional<DType> from_safetensors_dtype(std::string_view dtype) {
  const FormatType* const type = find_type(dtype);
  return type == nullptr ? std::nullopt : type->dtype;
}

std::string_view to_safetensors_dtype(DType dtype) {
  const auto found = std::find_if(kFormatTypes.begin(), kFormatTypes.end(),
                                  [&](const FormatType& type) { return type.dtype == dtype; });
  return found->name;
}

std::string quoted(std::string_view text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("the name {} is not valid UTF-8", quoted_for_message(text));
  }
}

std::string quoted_for_message(std::string_view text) {
  constexpr std::size_t kLongest = 100;
  const std::string shown = nlohmann::json(text.substr(0, kLongest))
                                .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() > kLongest ? shown + "..." : shown;
}

void fail_damaged(const std::filesystem::path& path, std::string_view problem) {
  fail("cannot read {}: {}; the file is damaged or not a safetensors file: copy or write it again",
       path.string(), problem);
}

}  // namespace rondo::detail
