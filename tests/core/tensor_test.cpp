#include "core/tensor.h"

#include <limits>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

template <typename T>
std::vector<T> values_of(const Tensor& tensor) {
  const auto values = tensor.values<T>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("shapes count and print", "[core][shape]") {
  const Shape shape{2, 3, 4};
  REQUIRE(shape.rank() == 3);
  REQUIRE(shape[0] == 2);
  REQUIRE(shape[-1] == 4);
  REQUIRE(shape.back() == 4);
  REQUIRE(shape.numel() == 24);
  REQUIRE(shape.rows() == 6);
  REQUIRE(shape.str() == "[2, 3, 4]");
  REQUIRE(shape.with(-2, 7) == Shape{2, 7, 4});
  REQUIRE(shape.without_leading() == Shape{3, 4});
  REQUIRE(shape != Shape{2, 3});
  REQUIRE(Shape{}.numel() == 1);
  REQUIRE(Shape{}.rows() == 1);
  REQUIRE(Shape{}.str() == "[]");
  REQUIRE(Shape{18, 0}.numel() == 0);
}

TEST_CASE("shapes refuse what cannot be", "[core][shape]") {
  REQUIRE_THAT(error_of([] { Shape{2, -1}; }), ContainsSubstring("size -1"));
  REQUIRE_THAT(error_of([] { Shape{1, 1, 1, 1, 1, 1, 1}; }), ContainsSubstring("at most 6"));
  const std::int64_t half = std::int64_t{1} << 29;
  REQUIRE(Shape{half, half, 2}.numel() == std::int64_t{1} << 59);
  REQUIRE_THAT(error_of([&] { Shape{half, half, 3}; }), ContainsSubstring("2^59"));
  // A zero does not hide the others.
  REQUIRE_THAT(error_of([&] { Shape{0, half, half, 3}; }), ContainsSubstring("2^59"));
  REQUIRE_THAT(error_of([] {
                 Shape{2, 3}[2];
               }),
               ContainsSubstring("dimension 2 does not exist in shape [2, 3]"));
  REQUIRE_THAT(error_of([] { Shape{2, 3}[-3]; }), ContainsSubstring("dimension -3"));
  REQUIRE_THAT(error_of([] { Shape{}.back(); }), ContainsSubstring("shape []"));
}

TEST_CASE("tensors are made of every type", "[core][tensor]") {
  REQUIRE_FALSE(Tensor().defined());
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64,
                            DType::u8, DType::boolean}) {
    INFO(name(dtype));
    const Tensor zeros = Tensor::zeros({3, 2}, dtype);
    REQUIRE(zeros.dtype() == dtype);
    REQUIRE(zeros.bytes() == 6 * size_of(dtype));
    REQUIRE(same_bits(zeros, Tensor::full({3, 2}, 0.0, dtype)));
    const Tensor ones = Tensor::full({3, 2}, 1.0, dtype);
    REQUIRE_FALSE(same_bits(zeros, ones));
    REQUIRE(same_bits(ones, ones.clone()));
  }
  REQUIRE(values_of<std::int32_t>(Tensor::full({2}, -3.0, DType::i32)) ==
          std::vector<std::int32_t>{-3, -3});
  REQUIRE(Tensor::full({}, 2.5).item() == 2.5);
  REQUIRE(Tensor::zeros({0, 4}).numel() == 0);
  REQUIRE_THAT(error_of([] {
                 Tensor::from<float>({1, 2}, {3});
               }),
               ContainsSubstring("2 values were given for shape [3]"));
}

TEST_CASE("views share elements and clones do not", "[core][tensor]") {
  Tensor tensor = Tensor::from<float>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {4, 3});
  Tensor copy = tensor.clone();
  REQUIRE_FALSE(copy.shares_storage_with(tensor));

  Tensor middle = tensor.narrow(1, 2);
  REQUIRE(middle.shape() == Shape{2, 3});
  REQUIRE(middle.shares_storage_with(tensor));
  REQUIRE(values_of<float>(middle) == std::vector<float>{3, 4, 5, 6, 7, 8});
  REQUIRE(values_of<float>(middle[1]) == std::vector<float>{6, 7, 8});
  REQUIRE(values_of<float>(middle.narrow(1, 1).reshape({3, 1})[2]) == std::vector<float>{8});
  REQUIRE(tensor.narrow(4, 0).numel() == 0);
  // A clone of a view holds the rows of the view.
  REQUIRE(values_of<float>(middle.clone()) == values_of<float>(middle));

  middle[0].fill(-1);
  REQUIRE(values_of<float>(tensor) == std::vector<float>{0, 1, 2, -1, -1, -1, 6, 7, 8, 9, 10, 11});
  REQUIRE(copy.values<float>()[3] == 3);
  const Tensor handle = tensor;  // a copy of a handle is no copy of the elements
  REQUIRE(handle.shares_storage_with(tensor));

  middle.copy_from(copy.narrow(2, 2));
  middle.add_(Tensor::full({2, 3}, 100));
  REQUIRE(values_of<float>(tensor) ==
          std::vector<float>{0, 1, 2, 106, 107, 108, 109, 110, 111, 9, 10, 11});
  // The elements live as long as any view.
  tensor = Tensor();
  REQUIRE(values_of<float>(middle[0]) == std::vector<float>{106, 107, 108});
}

TEST_CASE("wrap keeps the owner alive and copies nothing", "[core][tensor]") {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  const std::weak_ptr<std::vector<float>> watch = owner;
  float* const data = owner->data();
  Tensor row = Tensor::wrap(data, {2, 2}, DType::f32, std::move(owner))[1];
  REQUIRE_FALSE(watch.expired());
  REQUIRE(row.raw() == data + 2);
  REQUIRE(values_of<float>(row) == std::vector<float>{3, 4});
  row = Tensor();
  REQUIRE(watch.expired());
}

TEST_CASE("conversion between floating-point types rounds once", "[core][tensor]") {
  const Tensor wide = Tensor::from<double>({1.0, -2.5, 1.0 + 1e-12}, {3});
  REQUIRE(values_of<float>(wide.to(DType::f32)) == std::vector<float>{1, -2.5F, 1});
  REQUIRE(values_of<double>(wide.to(DType::bf16).to(DType::f64)) ==
          std::vector<double>{1, -2.5, 1});
  REQUIRE(values_of<double>(wide.to(DType::f16).to(DType::f64)) == std::vector<double>{1, -2.5, 1});
  REQUIRE(wide.to(DType::f64).shares_storage_with(wide));
  REQUIRE(error_of([] { Tensor::zeros({1}, DType::i32).to(DType::f32); }) ==
          "[to] i32 cannot be converted to f32; only floating-point types convert");
}

TEST_CASE("tensors on the meta device have shapes only", "[core][tensor]") {
  Tensor huge = Tensor::empty({1 << 30, 1 << 20}, DType::f32, Device::meta());
  REQUIRE(huge.numel() == std::int64_t{1} << 50);
  REQUIRE(huge.raw() == nullptr);
  // The bytes of the largest shape do not wrap around.
  REQUIRE(Tensor::empty({std::int64_t{1} << 59}, DType::f64, Device::meta()).bytes() ==
          std::size_t{1} << 62);
  huge.fill(1);
  REQUIRE(huge.clone().shape() == huge.shape());
  REQUIRE(huge.narrow(1, 2).shape() == Shape{2, 1 << 20});
  REQUIRE_THAT(error_of([&] { huge.data<float>(); }), ContainsSubstring("meta"));
}

TEST_CASE("tensors explain what does not fit", "[core][tensor]") {
  Tensor tensor = Tensor::zeros({2, 3});
  REQUIRE(error_of([&] { tensor.data<double>(); }) ==
          "[tensor] elements were read as f64, but the tensor holds f32");
  REQUIRE_THAT(error_of([] { Tensor().data<float>(); }), ContainsSubstring("undefined tensor"));
  REQUIRE(error_of([&] { tensor.item(); }) ==
          "[item] expected a tensor of one element, found shape [2, 3]");
  REQUIRE(error_of([&] { tensor.reshape({4}); }) ==
          "[reshape] shape [2, 3] cannot become [4]: 6 elements against 4");
  REQUIRE_THAT(error_of([&] { tensor.narrow(1, 2); }),
               ContainsSubstring("2 rows from row 1 on do not exist in shape [2, 3]"));
  REQUIRE_THAT(error_of([&] { tensor.narrow(-1, 1); }), ContainsSubstring("1 rows from row -1"));
  REQUIRE_THAT(error_of([&] { tensor[2]; }), ContainsSubstring("do not exist"));
  REQUIRE_THAT(error_of([] { Tensor::zeros({})[0]; }), ContainsSubstring("has no rows"));
  // Sums that wrap around are no way past the check.
  REQUIRE_THAT(error_of([&] { tensor.narrow(1, std::numeric_limits<std::int64_t>::max()); }),
               ContainsSubstring("do not exist"));
  REQUIRE_THAT(error_of([&] {
                 tensor.copy_from(Tensor::zeros({3, 2}));
               }),
               ContainsSubstring("f32 of shape [3, 2] cannot be copied to f32 of shape [2, 3]"));
  REQUIRE_THAT(error_of([&] {
                 tensor.copy_from(Tensor::zeros({2, 3}, DType::i32));
               }),
               ContainsSubstring("i32 of shape [2, 3]"));
  REQUIRE_THAT(error_of([&] { tensor.add_(Tensor::zeros({6})); }),
               ContainsSubstring("[add_] other has shape [6]; expected [2, 3]"));
  REQUIRE_THAT(error_of([&] { tensor.add_(Tensor()); }), ContainsSubstring("other is missing"));
  REQUIRE_THAT(error_of([] {
                 Tensor integers = Tensor::zeros({1}, DType::i32);
                 integers.add_(integers.clone());
               }),
               ContainsSubstring("f32 or f64, not i32"));
}

TEST_CASE("an undefined tensor is not copied or converted", "[core][tensor]") {
  REQUIRE_THAT(error_of([] { Tensor().clone(); }), ContainsSubstring("is undefined"));
  REQUIRE_THAT(error_of([] { Tensor().to(DType::f64); }),
               ContainsSubstring("[to] the tensor is undefined"));
  Tensor there = Tensor::zeros({});
  REQUIRE_THAT(error_of([&] { there.copy_from(Tensor()); }),
               ContainsSubstring("the source is undefined"));
}
