#include "core/safetensors.h"

#include <cstring>

#include "core/file.h"
#include "tests/support/damage.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// A file byte by byte: length, header, data.
std::string file_of(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

// The message of opening a file with these bytes.
std::string error_of_bytes(const std::string& bytes) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "bad.safetensors";
  write_bytes(path, bytes);
  const std::string message = error_of([&] { SafetensorsFile::open(path); });
  REQUIRE_THAT(message, ContainsSubstring(path.string()));
  return message;
}

std::string error_of_header(const std::string& header, std::size_t data_bytes = 0) {
  return error_of_bytes(file_of(header, std::string(data_bytes, '\0')));
}

// One of each dtype, a scalar and an empty tensor, wider types first.
std::vector<NamedTensor> every_kind() {
  return {{"f64", Tensor::from<double>({1.5, -2.25}, {2})},
          {"i64", Tensor::from<std::int64_t>({-1, std::int64_t{1} << 40}, {1, 2})},
          {"f32", Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3})},
          {"scalar", Tensor::full({}, 7.0)},
          {"empty", Tensor::zeros({18, 0})},
          {"i32", Tensor::from<std::int32_t>({-7}, {1})},
          {"bf16", Tensor::full({3}, 1.5, DType::bf16)},
          {"f16", Tensor::full({3}, -0.5, DType::f16)},
          {"u8", Tensor::from<std::uint8_t>({0, 255, 3}, {3})},
          {"bool", Tensor::full({2, 1}, 1.0, DType::boolean)}};
}

}  // namespace

TEST_CASE("safetensors returns what was written", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "all.safetensors";
  const auto tensors = every_kind();
  const std::map<std::string, std::string> metadata = {{"format", "rondo"}, {"quote", "\"\n\\ü"}};
  write_safetensors(path, tensors, metadata);

  const auto file = SafetensorsFile::open(path);
  REQUIRE(file.path() == path);
  REQUIRE(file.metadata() == metadata);
  REQUIRE(file.names().size() == tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    INFO(tensors[i].name);
    REQUIRE(file.contains(tensors[i].name));
    REQUIRE(same_bits(file.tensor(tensors[i].name), tensors[i].tensor));
  }
  REQUIRE_FALSE(file.contains("f3"));
  REQUIRE_THAT(error_of([&] { file.tensor("f3"); }),
               ContainsSubstring(path.string()) && ContainsSubstring("no tensor \"f3\""));
}

TEST_CASE("safetensors writes the bytes of the format", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "small.safetensors";
  const std::vector<NamedTensor> tensors = {{"b", Tensor::from<std::uint8_t>({1, 2}, {2})},
                                            {"a\"", Tensor::from<std::int32_t>({3}, {1, 1})}};
  write_safetensors(path, tensors, {{"k", "v"}});
  std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
      R"("a\"":{"dtype":"I32","shape":[1,1],"data_offsets":[2,6]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  REQUIRE(read_bytes(path) == file_of(header, std::string("\1\2\3\0\0\0", 6)));

  write_safetensors(path, {});
  REQUIRE(read_bytes(path) == file_of("{}      "));
  REQUIRE(SafetensorsFile::open(path).names().empty());
}

TEST_CASE("safetensors tensors are the mapped file where it aligns them", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "mapped.safetensors";
  const Tensor wide = Tensor::from<float>({1, 2, 3}, {3});
  const std::vector<NamedTensor> tensors = {
      {"aligned", wide}, {"byte", Tensor::zeros({1}, DType::u8)}, {"shifted", wide}};
  write_safetensors(path, tensors);

  Tensor aligned;
  Tensor shifted;
  {
    const auto file = SafetensorsFile::open(path);
    aligned = file.tensor("aligned");
    shifted = file.tensor("shifted");
    REQUIRE(aligned.raw() == file.tensor("aligned").raw());
    REQUIRE(shifted.raw() != file.tensor("shifted").raw());
    REQUIRE(reinterpret_cast<std::uintptr_t>(shifted.raw()) % alignof(float) == 0);
  }
  // The file and its handle are gone; the mapping is not.
  std::filesystem::remove(path);
  REQUIRE(same_bits(aligned, wide));
  REQUIRE(same_bits(shifted, wide));
}

TEST_CASE("safetensors reads entries in any order", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "order.safetensors";
  write_bytes(path, file_of(R"({ "z": {"shape":[2],"data_offsets":[1,3],"dtype":"U8"},)"
                            R"("a":{"data_offsets":[0,1],"dtype":"U8","shape":[]}} )",
                            "\1\2\3"));
  const auto file = SafetensorsFile::open(path);
  REQUIRE(file.names() == std::vector<std::string>{"a", "z"});
  REQUIRE(same_bits(file.tensor("a"), Tensor::from<std::uint8_t>({1}, {})));
  REQUIRE(same_bits(file.tensor("z"), Tensor::from<std::uint8_t>({2, 3}, {2})));
}

TEST_CASE("safetensors refuses only the tensor that Rondo cannot hold", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "foreign.safetensors";
  write_bytes(path, file_of(R"({"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                            R"("f8":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[1,4]},)"
                            R"("f4":{"dtype":"F4","shape":[4],"data_offsets":[4,6]},)"
                            R"("deep":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[6,7]},)"
                            R"("b":{"dtype":"BOOL","shape":[2],"data_offsets":[7,9]}})",
                            std::string(7, '\5') + "\1\2"));
  const auto file = SafetensorsFile::open(path);
  REQUIRE(same_bits(file.tensor("u"), Tensor::from<std::uint8_t>({5}, {1})));
  REQUIRE_THAT(error_of([&] { file.tensor("f8"); }),
               ContainsSubstring("tensor \"f8\" has dtype F8_E4M3; expected F32"));
  REQUIRE_THAT(error_of([&] { file.tensor("f4"); }), ContainsSubstring("dtype F4"));
  REQUIRE_THAT(error_of([&] { file.tensor("deep"); }),
               ContainsSubstring("has 7 dimensions; expected at most 6"));
  REQUIRE_THAT(error_of([&] { file.tensor("b"); }),
               ContainsSubstring("holds the byte 2; expected 0 or 1"));
}

TEST_CASE("safetensors refuses what is not a safetensors file", "[core][safetensors]") {
  const TemporaryFolder folder;
  REQUIRE_THAT(error_of([&] { SafetensorsFile::open(folder.path()); }),
               ContainsSubstring("not a regular file"));
  REQUIRE_THAT(error_of([&] { SafetensorsFile::open(folder.path() / "none"); }),
               ContainsSubstring("none") && ContainsSubstring("check the path"));
  REQUIRE_THAT(error_of_bytes(""), ContainsSubstring("the file is empty"));
  REQUIRE_THAT(error_of_bytes("abc"), ContainsSubstring("the file has 3"));
  REQUIRE_THAT(error_of_bytes(std::string(8, '\0')), ContainsSubstring("a header of 0 bytes"));
  REQUIRE_THAT(error_of_bytes("PK\3\4 a zip file of some kind"),
               ContainsSubstring("promise a header of"));
  REQUIRE_THAT(error_of_bytes(std::string(8, '\xff')),
               ContainsSubstring("a header of 18446744073709551615 bytes"));
  REQUIRE_THAT(error_of_header("[]"), ContainsSubstring("does not start with '{'"));
  REQUIRE_THAT(error_of_header(" {}"), ContainsSubstring("does not start with '{'"));
  for (const std::string header :
       {"{", "{}}", "{} {}", "{,}", "{'a':1}", "{\"\xff\":1}", "{\"a\":1e999}", "{\"a\":NaN}"}) {
    INFO(header);
    REQUIRE_THAT(error_of_header(header), ContainsSubstring("not valid JSON"));
  }
}

TEST_CASE("safetensors says how much of a file is missing", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "whole.safetensors";
  write_safetensors(path, every_kind());
  const std::string whole = read_bytes(path);
  // Cut everywhere: never a crash, never a file that opens.
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_bytes(path, whole.substr(0, length));
    const std::string message = error_of([&] { SafetensorsFile::open(path); });
    INFO(message);
    REQUIRE(!message.empty());
  }
  REQUIRE_THAT(error_of_bytes(whole.substr(0, whole.size() - 3)),
               ContainsSubstring("the file is cut short: its header promises 81 bytes of data, "
                                 "the file has 78; copy it again"));
  REQUIRE_THAT(error_of_bytes(whole.substr(0, 100)),
               ContainsSubstring("the file is cut short") && ContainsSubstring("the file has 92"));
  REQUIRE_THAT(error_of_bytes(whole + "x"),
               ContainsSubstring("the data ends at byte 81, but 82 bytes follow the header"));
}

TEST_CASE("safetensors refuses entries that are not as promised", "[core][safetensors]") {
  struct Case {
    std::string entry;
    std::string message;
  };
  const Case cases[] = {
      {R"(5)", R"(the description of "a" must be an object, found 5)"},
      {R"([])", R"(the description of "a" must be an object, found an array)"},
      {R"({"shape":[1],"data_offsets":[0,4]})", R"(tensor "a" has no dtype)"},
      {R"({"dtype":"F32","data_offsets":[0,4]})", R"(tensor "a" has no shape)"},
      {R"({"dtype":"F32","shape":[1]})", R"(tensor "a" has no data_offsets)"},
      {R"({"dtype":"F32","dtype":"F32"})", R"(tensor "a" has dtype twice)"},
      {R"({"dtype":"F32","strides":[1]})", R"(tensor "a" has a field "strides")"},
      {R"({"dtype":1})", R"(the dtype of tensor "a" must be a string, found 1)"},
      {R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})", R"(dtype "F33")"},
      {R"({"dtype":"f32","shape":[1],"data_offsets":[0,4]})", R"(dtype "f32")"},
      {R"({"dtype":"F32","shape":1})", R"(the shape of tensor "a" must be an array)"},
      {R"({"dtype":"F32","shape":[-1]})", R"(integers, 0 or more, found -1)"},
      {R"({"dtype":"F32","shape":[1.0]})", R"(integers, 0 or more, found 1.0)"},
      {R"({"dtype":"F32","shape":["1"]})", R"(integers, 0 or more, found "1")"},
      {R"({"dtype":"F32","shape":[[1]]})", R"(integers, 0 or more, found an array)"},
      {R"({"dtype":"F32","shape":[null]})", R"(integers, 0 or more, found null)"},
      {R"({"dtype":"F32","shape":[true]})", R"(integers, 0 or more, found true)"},
      {R"({"dtype":"F32","shape":[18446744073709551616]})", R"(integers, 0 or more, found 1844)"},
      {R"({"dtype":"F32","shape":{}})", R"(integers, 0 or more, found an object)"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", R"(two integers, 0 or more, found 1)"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,4]})", R"(two integers)"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})", R"(two integers)"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":"0,4"})", R"(two integers)"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})",
       R"(tensor "a" of shape [2] and dtype F32 takes 8 bytes, but its data_offsets are [0, 4])"},
      {R"({"dtype":"F32","shape":[0],"data_offsets":[0,4]})", R"(takes 0 bytes)"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", R"(data_offsets are [4, 0])"},
      {R"({"dtype":"F4","shape":[7],"data_offsets":[0,4]})", R"(takes 4 bytes, but)"},
      // 2^32 x 2^32 x 4 bytes wrap around to 0 in 64 bits; so do 2^62 x 4.
      {R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", "beyond 2^62"},
      {R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]})", "beyond 2^62"},
      {R"({"dtype":"F32","shape":[4294967296,0,4294967296],"data_offsets":[0,0]})", "beyond 2^62"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551616]})",
       R"(two integers)"},
      {R"({"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]})",
       R"(promises 18446744073709551615 bytes of data, the file has 4)"},
      {R"({"dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000]})",
       R"(promises 1000000000000 bytes of data, the file has 4)"},
  };
  for (const auto& [entry, message] : cases) {
    INFO(entry);
    REQUIRE_THAT(error_of_header("{\"a\":" + entry + "}", 4), ContainsSubstring(message));
  }
}

TEST_CASE("safetensors refuses overlaps, holes and duplicates", "[core][safetensors]") {
  const auto entry = [](const std::string& name, int begin, int end) {
    return fmt::format(R"("{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", name,
                       end - begin, begin, end);
  };
  const auto error_of_entries = [&](const std::vector<std::string>& entries) {
    return error_of_header(fmt::format("{{{}}}", fmt::join(entries, ",")), 4);
  };
  REQUIRE_THAT(error_of_entries({entry("a", 0, 3), entry("b", 2, 4)}),
               ContainsSubstring("tensor \"b\" starts at byte 2; expected 3") &&
                   ContainsSubstring("overlap"));
  REQUIRE_THAT(error_of_entries({entry("a", 0, 4), entry("b", 0, 4)}),
               ContainsSubstring("overlap"));
  REQUIRE_THAT(error_of_entries({entry("a", 0, 1), entry("b", 2, 4)}), ContainsSubstring("hole"));
  REQUIRE_THAT(error_of_entries({entry("a", 1, 4)}), ContainsSubstring("hole"));
  REQUIRE_THAT(error_of_entries({entry("a", 0, 3)}),
               ContainsSubstring("the data ends at byte 3, but 4 bytes follow"));
  REQUIRE_THAT(error_of_entries({entry("a", 0, 4), entry("a", 0, 4)}),
               ContainsSubstring("tensor \"a\" stands twice"));
  // The same name, once written with an escape.
  REQUIRE_THAT(error_of_entries({entry("a", 0, 4), entry("\\u0061", 4, 4)}),
               ContainsSubstring("tensor \"a\" stands twice"));
}

TEST_CASE("safetensors refuses metadata of other kinds", "[core][safetensors]") {
  REQUIRE_THAT(error_of_header(R"({"__metadata__":[]})"), ContainsSubstring("must be an object"));
  REQUIRE_THAT(error_of_header(R"({"__metadata__":{"a":1}})"),
               ContainsSubstring("value \"a\" of __metadata__ must be a string, found 1"));
  REQUIRE_THAT(error_of_header(R"({"__metadata__":{"a":{}}})"), ContainsSubstring("a string"));
  REQUIRE_THAT(error_of_header(R"({"__metadata__":{"a":"1","a":"2"}})"),
               ContainsSubstring("holds \"a\" twice"));
  REQUIRE_THAT(error_of_header(R"({"__metadata__":{},"__metadata__":{}})"),
               ContainsSubstring("stands twice"));
}

TEST_CASE("safetensors survives deep nesting and long names", "[core][safetensors]") {
  REQUIRE_THAT(error_of_header("{\"a\":" + std::string(1'000'000, '[')),
               ContainsSubstring("found an array"));
  std::string deep = "{";
  for (int level = 0; level < 100'000; ++level) {
    deep += "\"a\":{";
  }
  REQUIRE_THAT(error_of_header(deep), ContainsSubstring("has a field \"a\""));
  REQUIRE(error_of_header("{\"" + std::string(1'000'000, 'n') + "\":1}").size() < 1000);
  std::string sizes = "1";
  for (int dimension = 1; dimension < 100'000; ++dimension) {
    sizes += ",1";
  }
  REQUIRE(error_of_header(R"({"a":{"dtype":"U8","data_offsets":[0,0],"shape":[)" + sizes + "]}}")
              .size() < 1000);
  // Bytes that would steer a terminal are shown escaped.
  REQUIRE_THAT(error_of_header("{\"\\u001b[2J\":1}"), ContainsSubstring("\\u001b"));
}

TEST_CASE("safetensors never crashes on a damaged file", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "fuzz.safetensors";
  write_safetensors(path, every_kind(), {{"key", "value"}});
  const std::string whole = read_bytes(path);
  const Damaged result = read_damaged(whole, 20, 5000, [&](const std::string& bytes) {
    write_bytes(path, bytes);
    const auto file = SafetensorsFile::open(path);
    // Every element of what opens can be read.
    for (const std::string& name : file.names()) {
      try {
        const Tensor tensor = file.tensor(name).clone();
        REQUIRE(tensor.bytes() <= bytes.size());
      } catch (const Error&) {
        continue;
      }
    }
  });
  REQUIRE(result.read > 0);
  REQUIRE(result.refused > result.read);
}

TEST_CASE("write_safetensors refuses names that the format does not allow", "[core][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file.safetensors";
  const Tensor tensor = Tensor::zeros({1});
  const auto error_of_tensors = [&](const std::vector<NamedTensor>& tensors) {
    const std::string message = error_of([&] { write_safetensors(path, tensors); });
    REQUIRE_THAT(message, ContainsSubstring(path.string()));
    return message;
  };
  REQUIRE_THAT(error_of_tensors({{"a", tensor}, {"a", tensor}}),
               ContainsSubstring("\"a\" was given twice"));
  REQUIRE_THAT(error_of_tensors({{"__metadata__", tensor}}), ContainsSubstring("is reserved"));
  REQUIRE_THAT(error_of_tensors({{"\xff", tensor}}), ContainsSubstring("not valid UTF-8"));
  REQUIRE_THAT(error_of_tensors({{"a", Tensor()}}), ContainsSubstring("\"a\" has no elements"));
  REQUIRE_THAT(error_of_tensors({{"a", Tensor::empty({1}, DType::f32, Device::meta())}}),
               ContainsSubstring("\"a\" has no elements"));
  REQUIRE(std::filesystem::is_empty(folder.path()));
}
