#include "ops/concat.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>

#include "core/parallel.h"
#include "cuda_kernels/copy_runs.h"
#include "ops/device.h"

namespace rondo {
namespace {

// A tensor seen along one dimension: `outer` blocks, each of `size` items of `item_bytes` bytes.
struct Layout {
  std::int64_t outer = 1;
  std::int64_t item_bytes = 1;
};

int resolve_dim(std::string_view op, const Shape& shape, int dim) {
  const int resolved = dim < 0 ? dim + shape.rank() : dim;
  check(resolved >= 0 && resolved < shape.rank(), "[{}] dimension {} does not exist in shape {}",
        op, dim, shape.str());
  return resolved;
}

Layout layout_along(const Tensor& tensor, int dim) {
  const Shape& shape = tensor.shape();
  Layout layout;
  layout.outer =
      std::accumulate(shape.begin(), shape.begin() + dim, std::int64_t{1}, std::multiplies<>());
  layout.item_bytes =
      std::accumulate(shape.begin() + dim + 1, shape.end(),
                      static_cast<std::int64_t>(size_of(tensor.dtype())), std::multiplies<>());
  return layout;
}

// Copies `count` runs of `bytes` bytes; the strides are the distances between their beginnings.
void copy_runs_on_cpu(const std::byte* from, std::int64_t from_stride, std::byte* to,
                      std::int64_t to_stride, std::int64_t count, std::int64_t bytes) {
  constexpr std::int64_t kGrain = 1 << 18;  // bytes worth a thread
  if (bytes == 0) {
    return;
  }
  if (count == 1) {
    parallel_for(0, bytes, kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
    });
    return;
  }
  parallel_for(0, count, kGrain / bytes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t run = begin; run < end; ++run) {
      std::memcpy(to + run * to_stride, from + run * from_stride, static_cast<std::size_t>(bytes));
    }
  });
}

// The same on `device`, where both are.
void copy_runs(Device device, const std::byte* from, std::int64_t from_stride, std::byte* to,
               std::int64_t to_stride, std::int64_t count, std::int64_t bytes) {
  if (!device.is_cuda()) {
    require_cpu("concat", device);
  }
  run_on(
      device, [&] { copy_runs_on_cpu(from, from_stride, to, to_stride, count, bytes); },
      [&](auto stream) {
        if (count == 1) {
          cuda::copy_on_device(to, from, static_cast<std::size_t>(bytes), stream);
        } else {
          cuda::copy_runs({count, bytes, from, from_stride, to, to_stride}, stream);
        }
      });
}

// Items [start, start + size of part) of `whole` along `dim` = part.
void write_part(const Tensor& part, int dim, std::int64_t start, Tensor& whole) {
  const Layout layout = layout_along(whole, dim);
  const std::int64_t run = part.size(dim) * layout.item_bytes;
  copy_runs(whole.device(), static_cast<const std::byte*>(part.raw()), run,
            static_cast<std::byte*>(whole.raw()) + start * layout.item_bytes,
            whole.size(dim) * layout.item_bytes, layout.outer, run);
}

// A copy of items [start, start + length) of `whole` along `dim`.
Tensor read_part(const Tensor& whole, int dim, std::int64_t start, std::int64_t length) {
  Tensor part = Tensor::empty(whole.shape().with(dim, length), whole.dtype(), whole.device());
  const Layout layout = layout_along(whole, dim);
  const std::int64_t run = length * layout.item_bytes;
  copy_runs(whole.device(), static_cast<const std::byte*>(whole.raw()) + start * layout.item_bytes,
            whole.size(dim) * layout.item_bytes, static_cast<std::byte*>(part.raw()), run,
            layout.outer, run);
  return part;
}

}  // namespace

Variable concat(const std::vector<Variable>& parts, int dim) {
  check(!parts.empty(), "[concat] there are no parts; give at least one");
  const Tensor& first = parts[0].value();
  dim = resolve_dim("concat", first.shape(), dim);
  std::vector<std::int64_t> sizes;
  std::vector<bool> wants;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Shape& shape = parts[i].shape();
    check(shape.rank() == first.shape().rank() && shape.with(dim, 0) == first.shape().with(dim, 0),
          "[concat] part {} has shape {}; expected that of part 0, {}, but for dimension {}", i,
          shape.str(), first.shape().str(), dim);
    check_same_kind("concat", fmt::format("part {}", i), parts[i].value(), first);
    sizes.push_back(shape[dim]);
    wants.push_back(parts[i].requires_grad());
  }

  const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  Tensor whole = Tensor::empty(first.shape().with(dim, total), first.dtype(), first.device());
  std::int64_t start = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    write_part(parts[i].value(), dim, start, whole);
    start += sizes[i];
  }

  return record("concat", std::vector<Tensor>{std::move(whole)}, parts,
                [=](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(sizes.size());
                  std::int64_t begin = 0;
                  for (std::size_t i = 0; i < sizes.size(); ++i) {
                    if (wants[i]) {
                      // Rows of grads[0], which this function owns, can be handed on as they are:
                      // no two parts share any.
                      result[i] = dim == 0 ? grads[0].narrow(begin, sizes[i])
                                           : read_part(grads[0], dim, begin, sizes[i]);
                    }
                    begin += sizes[i];
                  }
                  return result;
                })
      .front();
}

std::vector<Variable> split(const Variable& x, const std::vector<std::int64_t>& sizes, int dim) {
  dim = resolve_dim("split", x.shape(), dim);
  const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  check(!sizes.empty() && total == x.size(dim) &&
            std::all_of(sizes.begin(), sizes.end(), [](std::int64_t size) { return size >= 0; }),
        "[split] sizes [{}] do not add up to dimension {} of shape {}", fmt::join(sizes, ", "), dim,
        x.shape().str());

  std::vector<Tensor> parts;
  std::int64_t start = 0;
  for (const std::int64_t size : sizes) {
    parts.push_back(read_part(x.value(), dim, start, size));
    start += size;
  }

  return record("split", std::move(parts), std::span(&x, 1),
                [=, shape = x.shape(), dtype = x.dtype(),
                 device = x.device()](std::span<const Tensor> grads) {
                  Tensor whole = Tensor::empty(shape, dtype, device);
                  std::int64_t begin = 0;
                  for (std::size_t i = 0; i < sizes.size(); ++i) {
                    write_part(grads[i].defined()
                                   ? grads[i]
                                   : Tensor::zeros(shape.with(dim, sizes[i]), dtype, device),
                               dim, begin, whole);
                    begin += sizes[i];
                  }
                  return std::vector<Tensor>{whole};
                });
}

Variable narrow(const Variable& x, std::int64_t start, std::int64_t length) {
  Tensor rows = x.value().narrow(start, length);
  return record("narrow", std::move(rows), {x},
                [=, shape = x.shape(), dtype = x.dtype(),
                 device = x.device()](std::span<const Tensor> grads) {
                  Tensor grad = Tensor::empty(shape, dtype, device);
                  grad.narrow(0, start).fill(0.0);
                  grad.narrow(start, length).copy_from(grads[0]);
                  grad.narrow(start + length, shape[0] - start - length).fill(0.0);
                  return std::vector<Tensor>{grad};
                });
}

Variable reshape(const Variable& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape), {x},
                [from = x.shape()](std::span<const Tensor> grads) {
                  return std::vector<Tensor>{grads[0].reshape(from)};
                });
}

}  // namespace rondo
