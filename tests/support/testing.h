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

namespace rondo::testing {

// Values uniform in [low, high). With `offset`, the tensor is a view that starts inside a larger
// storage, so that its first element is not aligned.
Tensor random_tensor(const Shape& shape, DType dtype, Generator& generator, double low = -1.0,
                     double high = 1.0, bool offset = false);
// A leaf that requires a gradient.
Variable random_parameter(const Shape& shape, DType dtype, Generator& generator, double low = -1.0,
                          double high = 1.0, bool offset = false);

// The largest |a - b| / (1 + |b|) over all elements, in double. Shapes must be equal.
double max_relative_error(const Tensor& a, const Tensor& b);
bool same_bits(const Tensor& a, const Tensor& b);

// Runs `body` with one thread and with two, and restores the count.
void for_thread_counts(const std::function<void()>& body);

// REQUIREs that the gradient check passes with one thread and with two.
void require_gradients(
    const std::function<std::vector<Variable>(std::span<const Variable>)>& function,
    const std::vector<Variable>& inputs);

// The message of the rondo::Error that `body` throws; fails the test if it throws none.
std::string error_of(const std::function<void()>& body);

}  // namespace rondo::testing
