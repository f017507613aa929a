#include "core/cuda.h"

#include <cstdlib>
#include <cstring>
#include <numeric>

#include "core/allocator.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

const std::vector<DType> kEveryType = {DType::f32, DType::f64, DType::bf16, DType::f16,
                                       DType::i32, DType::i64, DType::u8,   DType::boolean};

}  // namespace

TEST_CASE("tensors come back from the GPU as they went", "[core][cuda][gpu]") {
  Generator generator(1);
  for (const std::int64_t size : {0, 1, 3, 1000, 70001}) {
    const Tensor values = on_cpu(random_tensor({size}, DType::f32, generator));
    const Tensor there = values.to(test_device());
    REQUIRE(there.device() == test_device());
    REQUIRE(same_bits(there.to(Device::cpu()), values));
    REQUIRE(same_bits(there.clone(), values));
    Tensor again = Tensor::empty({size}, DType::f32, test_device());
    again.copy_from(there);
    REQUIRE(same_bits(again, values));
    if (size > 2) {
      REQUIRE(same_bits(there.narrow(1, size - 2), values.narrow(1, size - 2)));
    }
  }
}

TEST_CASE("every type can be filled on the GPU", "[core][cuda][gpu]") {
  for (const DType type : kEveryType) {
    INFO(name(type));
    for (const double value : {0.0, 1.0}) {
      REQUIRE(same_bits(Tensor::full({777}, value, type, test_device()),
                        Tensor::full({777}, value, type)));
    }
    REQUIRE(same_bits(Tensor::zeros({777}, type, test_device()), Tensor::zeros({777}, type)));
  }
}

TEST_CASE("conversions on the GPU round as those on the CPU", "[core][cuda][gpu]") {
  Generator generator(2);
  const std::vector<DType> types = {DType::f32, DType::f64, DType::bf16, DType::f16};
  const Tensor values = on_cpu(random_tensor({4099}, DType::f64, generator, -300.0, 300.0));
  for (const DType from : types) {
    for (const DType to : types) {
      INFO(name(from) << " to " << name(to));
      const Tensor start = values.to(from);
      REQUIRE(same_bits(start.to(test_device()).to(to), start.to(to)));
    }
  }
}

TEST_CASE("conversions and sums on the GPU take every size and alignment", "[core][cuda][gpu]") {
  for (const DType type : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (const std::int64_t count : {0, 1, 3, 8, 17, 64, 1000}) {
      for (const std::int64_t offset : {0, 1}) {
        INFO(name(type) << ", " << count << " from " << offset);
        Generator generator(4);
        Tensor values = Tensor::empty({count + offset});
        fill_uniform(values, -2.0, 2.0, generator);
        const Tensor here = values.to(type).narrow(offset, count);
        const Tensor there = values.to(type).to(test_device()).narrow(offset, count);
        for (const DType other : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
          REQUIRE(same_bits(on_cpu(there.to(other)), here.to(other)));
        }
        Tensor sum = there.clone();
        sum.add_(there);
        Tensor expected = here.to(DType::f64);
        expected.add_(expected.clone());
        REQUIRE(same_bits(on_cpu(sum), expected.to(type)));
      }
    }
  }
}

TEST_CASE("add_ on the GPU adds", "[core][cuda][gpu]") {
  Generator generator(3);
  for (const DType type : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    const Tensor a = on_cpu(random_tensor({1501}, DType::f64, generator)).to(type);
    const Tensor b = on_cpu(random_tensor({1501}, DType::f64, generator)).to(type);
    Tensor sum = a.clone().to(test_device());
    sum.add_(b.to(test_device()));
    Tensor expected = a.to(DType::f64).clone();
    expected.add_(b.to(DType::f64));
    const double tolerance = type == DType::f64 ? 0.0 : type == DType::f32 ? 1e-7 : 4e-3;
    REQUIRE(max_relative_error(sum, expected) <= tolerance);
  }
}

TEST_CASE("item waits for the GPU and reads one element", "[core][cuda][gpu]") {
  REQUIRE(Tensor::full({1}, 2.5, DType::bf16, test_device()).item() == 2.5);
}

TEST_CASE("uniform values are the same on every device", "[core][cuda][gpu]") {
  Generator here(4);
  Generator there(4);
  Tensor on_the_cpu = Tensor::empty({333});
  Tensor on_the_gpu = Tensor::empty({333}, DType::f32, test_device());
  fill_uniform(on_the_cpu, -2.0, 3.0, here);
  fill_uniform(on_the_gpu, -2.0, 3.0, there);
  REQUIRE(same_bits(on_the_gpu, on_the_cpu));
}

TEST_CASE("elements on the GPU are not read as if they were on the CPU", "[core][cuda][gpu]") {
  const Tensor there = Tensor::zeros({2}, DType::f32, test_device());
  REQUIRE_THAT(error_of([&] { there.data<float>(); }),
               ContainsSubstring("on the CPU") || ContainsSubstring("to the CPU"));
  REQUIRE_THAT(error_of([] { Tensor::zeros({2}).device_data<float>(); }),
               ContainsSubstring("on a GPU, but the tensor holds f32 on cpu"));
}

TEST_CASE("released GPU memory is handed out again", "[core][cuda][gpu]") {
  if (std::getenv("RONDO_CUDA_NO_CACHE") != nullptr) {
    return;
  }
  CachingAllocator& memory = allocator(test_device());
  const void* first = Tensor::empty({5000}, DType::f32, test_device()).raw();
  const MemoryStats before = memory.stats();
  for (int i = 0; i < 3; ++i) {
    REQUIRE(Tensor::empty({5000}, DType::f32, test_device()).raw() == first);
  }
  REQUIRE(memory.stats().system_allocations == before.system_allocations);
  REQUIRE(memory.stats().in_use_bytes == before.in_use_bytes);
}

TEST_CASE("CPU memory may change as soon as it has been copied to the GPU", "[core][cuda][gpu]") {
  // From less than a piece of the memory that copies go through to more than all of it.
  for (const std::int64_t count : {1, 1000, 70'000, 5'000'000}) {
    Tensor busy = Tensor::zeros({1 << 20}, DType::f32, test_device());
    const Tensor one = Tensor::full(busy.shape(), 1.0, DType::f32, test_device());
    for (int i = 0; i < 20; ++i) {
      busy.add_(one);
    }
    Tensor here = Tensor::empty({count}, DType::i32);
    std::iota(here.data<std::int32_t>(), here.data<std::int32_t>() + count, 7);
    const Tensor there = here.to(test_device());
    here.fill(-1.0);
    const Tensor back = on_cpu(there);
    REQUIRE(back.data<std::int32_t>()[0] == 7);
    REQUIRE(back.data<std::int32_t>()[count / 2] == 7 + count / 2);
    REQUIRE(back.data<std::int32_t>()[count - 1] == 6 + count);
  }
}

TEST_CASE("copies of pinned memory are ordered by events", "[core][cuda][gpu]") {
  if constexpr (kWithCuda) {
    const std::vector<std::int32_t> values = {1, 2, 3, 4};
    cuda::PinnedBuffer from(16);
    cuda::PinnedBuffer to(16);
    std::memcpy(from.data(), values.data(), 16);
    Tensor there = Tensor::empty({4}, DType::i32, test_device());
    const cuda::Stream copies = cuda::copy_stream(test_device());
    cuda::Event ours(test_device());  // whoever had the block before, on the other stream
    ours.record(cuda::stream(test_device()));
    ours.wait_on(copies);
    cuda::copy_to_device(there.raw(), from.data(), 16, copies);
    cuda::Event copied(test_device());
    copied.record(copies);
    const cuda::Stream work = cuda::stream(test_device());
    copied.wait_on(work);
    cuda::copy_to_host(to.data(), there.raw(), 16, work);
    cuda::Event done(test_device());
    done.record(work);
    done.synchronize();
    REQUIRE(done.reached());
    REQUIRE(std::memcmp(to.data(), values.data(), 16) == 0);
  }
}

TEST_CASE("a GPU that does not exist is explained", "[core][cuda][gpu]") {
  REQUIRE_THAT(error_of([] { Tensor::zeros({1}, DType::f32, Device::cuda(99)); }),
               ContainsSubstring("device cuda:99 was asked for, but there"));
}
