// The sizes of a tensor's dimensions, held inline.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace rondo {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes)
      : Shape(std::span<const std::int64_t>(sizes.begin(), sizes.size())) {}
  // Throws Error for a negative size, more than kMaxRank sizes, or a product beyond 2^59: the bytes
  // of any tensor then fit into 64 bits.
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const { return rank_; }
  // Size of dimension `dim`; negative counts from the end.
  std::int64_t operator[](int dim) const;
  std::int64_t back() const { return (*this)[-1]; }
  // Product of all sizes; 1 for rank 0.
  std::int64_t numel() const;
  // Product of all sizes but the last: the rows of a (..., features) tensor; 1 for rank 0.
  std::int64_t rows() const;

  Shape with(int dim, std::int64_t size) const;
  Shape without_leading() const;

  const std::int64_t* begin() const { return sizes_.data(); }
  const std::int64_t* end() const { return sizes_.data() + rank_; }
  // "[64, 8, 1000]"
  std::string str() const;

  friend bool operator==(const Shape& a, const Shape& b);

 private:
  int resolve(int dim) const;

  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace rondo
