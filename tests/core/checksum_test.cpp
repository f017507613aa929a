#include "core/checksum.h"

#include <string>

#include "tests/support/catch.h"

using namespace rondo;

TEST_CASE("the checksums are the published ones", "[core][checksum]") {
  const std::string text = "abc";
  const auto bytes = std::as_bytes(std::span(text));
  // FIPS 180-2, appendices A.1 and B.1.
  REQUIRE(sha1(bytes) == "a9993e364706816aba3e25717850c26c9cd0d89d");
  REQUIRE(sha256(bytes) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
