#include "core/shape.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"

namespace rondo {

Shape::Shape(std::span<const std::int64_t> sizes) {
  check(sizes.size() <= kMaxRank, "a shape has at most {} dimensions, {} were given", kMaxRank,
        sizes.size());
  // Zero sizes make the product zero, so the limit is checked on the product of the others.
  constexpr std::int64_t kLimit = std::int64_t{1} << 59;
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    check(size >= 0, "a dimension of size {} is not possible", size);
    check(size == 0 || product <= kLimit / size,
          "a tensor of more than 2^59 elements is not possible");
    product *= std::max<std::int64_t>(size, 1);
    sizes_[static_cast<std::size_t>(rank_++)] = size;
  }
}

int Shape::resolve(int dim) const {
  const int resolved = dim < 0 ? dim + rank_ : dim;
  check(resolved >= 0 && resolved < rank_, "dimension {} does not exist in shape {}", dim, str());
  return resolved;
}

std::int64_t Shape::operator[](int dim) const {
  return sizes_[static_cast<std::size_t>(resolve(dim))];
}

std::int64_t Shape::numel() const {
  std::int64_t product = 1;
  for (const std::int64_t size : *this) {
    product *= size;
  }
  return product;
}

std::int64_t Shape::rows() const {
  std::int64_t product = 1;
  for (int dim = 0; dim + 1 < rank_; ++dim) {
    product *= sizes_[static_cast<std::size_t>(dim)];
  }
  return product;
}

Shape Shape::with(int dim, std::int64_t size) const {
  Shape changed = *this;
  changed.sizes_[static_cast<std::size_t>(resolve(dim))] = size;
  return changed;
}

Shape Shape::without_leading() const {
  return rank_ == 0 ? Shape() : Shape(std::span(begin() + 1, end()));
}

std::string Shape::str() const {
  std::string text = "[";
  for (int dim = 0; dim < rank_; ++dim) {
    fmt::format_to(std::back_inserter(text), "{}{}", dim == 0 ? "" : ", ",
                   sizes_[static_cast<std::size_t>(dim)]);
  }
  return text + "]";
}

bool operator==(const Shape& a, const Shape& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace rondo
