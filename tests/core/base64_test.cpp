#include "core/base64.h"

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("base64 of any bytes, there and back", "[core][base64]") {
  // The examples of RFC 4648, section 10.
  const auto [bytes, text] = GENERATE(table<std::string, std::string>(
      {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}}));
  REQUIRE(to_base64(bytes) == text);
  REQUIRE(from_base64(text) == bytes);

  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
  }
  REQUIRE(from_base64(to_base64(all)) == all);
}

TEST_CASE("text that is not base64 is refused", "[core][base64]") {
  const std::string text = GENERATE("Z", "Zg=", "Zg==Zg==", "Zh==", "Z*==", " Zg==", "Zg==\n");
  CAPTURE(text);
  REQUIRE_THROWS_AS(from_base64(text), Error);
}
