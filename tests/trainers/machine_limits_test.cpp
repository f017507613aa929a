#include "trainers/machine_limits.h"

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("the median is the middle", "[trainers][machine_limits]") {
  REQUIRE(median({3.0}) == 3.0);
  REQUIRE(median({9.0, 1.0, 2.0}) == 2.0);
  REQUIRE(median({8.0, 1.0, 4.0, 2.0}) == 3.0);
  REQUIRE_THAT(error_of([] { median({}); }), ContainsSubstring("no values"));
}

TEST_CASE("limits are measured as often as asked", "[trainers][machine_limits]") {
  const Device device = test_device();
  const std::vector<double> products = measure_products(Precision::f32, device, 96, 2);
  REQUIRE(products.size() == 2);
  REQUIRE(products[0] > 0.0);
  REQUIRE(measure_copies(device, 3).size() == 3);
  REQUIRE(measure_products(Precision::bf16, device, 96, 1).size() == 1);
  REQUIRE(product_size(device) > 96);
}

TEST_CASE("the process knows its processor and its peak", "[trainers][machine_limits]") {
  REQUIRE_FALSE(processor_name().empty());
  REQUIRE(device_name(Device::cpu()) == processor_name());
  REQUIRE_FALSE(device_name(test_device()).empty());
  REQUIRE(processor_name().find('\n') == std::string::npos);
  // As much as is held now at the least, and it stays when that is given back.
  constexpr std::size_t kBytes = std::size_t{48} << 20;
  { const std::vector<char> touched(kBytes, 'x'); }
  const std::size_t peak = peak_rss_bytes();
  REQUIRE(peak >= kBytes);
  REQUIRE(peak < std::size_t{1} << 40);
}
