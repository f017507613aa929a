// What operation tests share: inputs, comparisons, and the sizes and thread counts to try.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/gradient_check.h"
#include "autograd/variable.h"
#include "core/parallel.h"
#include "core/random.h"
#include "tests/support/catch.h"
#include "tests/support/test_device.h"

namespace rondo::testing {

// Tests run on test_device(). Those of CPU code alone are tagged [cpu], those that compare a GPU
// with the CPU [gpu].

// The same elements on the CPU, to be read.
inline Tensor on_cpu(const Tensor& tensor) { return tensor.to(Device::cpu()); }
// The same elements where tests run.
inline Tensor on_test_device(const Tensor& tensor) { return tensor.to(test_device()); }

// These values, where tests run.
template <typename T>
Tensor tensor_of(const std::vector<T>& values, const Shape& shape) {
  return on_test_device(Tensor::from<T>(values, shape));
}

// Values uniform in [low, high), on the test device. With `offset`, the tensor is a view that
// starts inside a larger storage, so that its first element is not aligned.
Tensor random_tensor(const Shape& shape, DType dtype, Generator& generator, double low = -1.0,
                     double high = 1.0, bool offset = false);
// A leaf that requires a gradient.
Variable random_parameter(const Shape& shape, DType dtype, Generator& generator, double low = -1.0,
                          double high = 1.0, bool offset = false);

// The largest |a - b| / (1 + |b|) over all elements, in double. Shapes must be equal, types and
// devices may differ.
double max_relative_error(const Tensor& a, const Tensor& b);
bool same_bits(const Tensor& a, const Tensor& b);

// Runs `body` with one thread and with two, and restores the count.
void for_thread_counts(const std::function<void()>& body);

// REQUIREs that the gradient check passes with one thread and with two.
void require_gradients(
    const std::function<std::vector<Variable>(std::span<const Variable>)>& function,
    const std::vector<Variable>& inputs);

// Runs `function` forward and backward (from random gradients of its outputs) on the CPU in f32,
// and on the test device with activations of type `type`, and REQUIREs that all outputs and
// gradients agree within `tolerance` (as max_relative_error has it). The CPU sees the same values:
// those of activations are rounded to `type` first. `function` gets activations, then parameters,
// which are f32 on both sides, as in mixed-precision training.
void require_devices_agree(
    const std::function<std::vector<Variable>(std::span<const Variable>)>& function,
    const std::vector<Tensor>& activations, const std::vector<Tensor>& parameters, DType type,
    double tolerance);

// The message of the rondo::Error that `body` throws; fails the test if it throws none.
std::string error_of(const std::function<void()>& body);

}  // namespace rondo::testing
