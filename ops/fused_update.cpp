#include "ops/fused_update.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "core/cuda.h"
#include "cuda_kernels/optimizer.h"
#include "ops/device.h"

namespace rondo {
namespace {

Tensor bytes_on(Device device, std::size_t bytes) {
  return Tensor::empty({static_cast<std::int64_t>(bytes)}, DType::u8, device);
}

// Plain structs as a tensor of bytes on the GPU.
template <typename T>
Tensor upload(std::span<const T> items, Device device) {
  Tensor bytes = bytes_on(Device::cpu(), items.size_bytes());
  std::memcpy(bytes.raw(), items.data(), items.size_bytes());
  return bytes.to(device);
}

template <typename T>
cuda::ParameterTable<T> table_of(Tensor& rows, const Tensor& chunks) {
  return {static_cast<cuda::ParameterRow<T>*>(rows.raw()),
          static_cast<const cuda::ParameterChunk*>(chunks.raw()),
          static_cast<std::int64_t>(chunks.bytes() / sizeof(cuda::ParameterChunk))};
}

void check_same(std::string_view what, const Tensor& tensor, const Tensor& parameter) {
  check_shape("optimizer", what, tensor, parameter.shape());
  check_same_kind("optimizer", what, tensor, parameter);
}

// Calls body(Type<T>) for the types that parameters have.
template <typename Body>
void dispatch_parameters(DType dtype, Body&& body) {
  dispatch_compute(dtype, "optimizer", std::forward<Body>(body));
}

}  // namespace

FusedUpdate::FusedUpdate(std::vector<UpdatedParameter> parameters)
    : parameters_(std::move(parameters)) {
  check(!parameters_.empty(), "[optimizer] there is no parameter to optimize");
  const Tensor& like = parameters_.front().parameter.value();
  device_ = like.device();
  dtype_ = like.dtype();
  check(device_.is_cuda(), "[optimizer] parameters are on {}; expected a GPU", device_.str());
  for (const UpdatedParameter& p : parameters_) {
    check_same_kind("optimizer", "a parameter", p.parameter.value(), like);
    if (p.first.defined()) {
      check_same("the first moment", p.first, p.parameter.value());
    }
    if (p.second.defined()) {
      check_same("the second moment", p.second, p.parameter.value());
    }
  }
  dispatch_parameters(dtype_, [&]<typename T>(Type<T>) { build_table<T>(); });
  state_ = bytes_on(device_, sizeof(StepState));
  set_state({});
}

template <typename T>
void FusedUpdate::build_table() {
  const auto elements = [](Tensor& tensor) {
    return tensor.defined() ? tensor.device_data<T>() : nullptr;
  };
  std::vector<cuda::ParameterRow<T>> rows;
  std::vector<cuda::ParameterChunk> chunks;
  for (UpdatedParameter& p : parameters_) {
    const std::int64_t count = p.parameter.value().numel();
    for (std::int64_t begin = 0; begin < count; begin += cuda::kChunkElements) {
      chunks.push_back({static_cast<std::int64_t>(rows.size()), begin});
    }
    rows.push_back(
        {elements(p.parameter.value()), nullptr, elements(p.first), elements(p.second), count});
  }
  gradients_.assign(rows.size(), nullptr);
  rows_ = upload(std::span<const cuda::ParameterRow<T>>(rows), device_);
  chunks_ = upload(std::span<const cuda::ParameterChunk>(chunks), device_);
  partials_ = Tensor::empty({static_cast<std::int64_t>(chunks.size())}, DType::f64, device_);
  prepared_ = bytes_on(device_, std::max(sizeof(cuda::PreparedStep<AdamStep<T>>),
                                         sizeof(cuda::PreparedStep<SgdStep<T>>)));
}

// Gradients are new tensors in every step, though often in the places of the old ones.
void FusedUpdate::take_gradients() {
  dispatch_parameters(dtype_, [&]<typename T>(Type<T>) {
    const auto count = static_cast<std::int64_t>(parameters_.size());
    for (std::int64_t first = 0; first < count; first += cuda::kGradientsAtOnce) {
      const std::int64_t some = std::min(cuda::kGradientsAtOnce, count - first);
      cuda::GradientPointers<T> pointers{};
      bool changed = false;
      for (std::int64_t i = 0; i < some; ++i) {
        const auto at = static_cast<std::size_t>(first + i);
        const Tensor& grad = parameters_[at].parameter.grad();
        if (grad.defined()) {
          check_same("a gradient", grad, parameters_[at].parameter.value());
        }
        pointers.grad[i] = device_data_or_null<T>(grad);
        changed = changed || gradients_[at] != pointers.grad[i];
        gradients_[at] = pointers.grad[i];
      }
      if constexpr (kWithCuda) {
        if (changed) {
          cuda::set_gradients(table_of<T>(rows_, chunks_), first, some, pointers,
                              cuda::stream(device_));
        }
      }
    }
  });
}

Tensor FusedUpdate::grad_norm() {
  take_gradients();
  Tensor norm = Tensor::empty({1}, DType::f64, device_);
  if constexpr (kWithCuda) {
    dispatch_parameters(dtype_, [&]<typename T>(Type<T>) {
      cuda::grad_norm(table_of<T>(rows_, chunks_), static_cast<const StepState*>(state_.raw()),
                      partials_.device_data<double>(), norm.device_data<double>(),
                      cuda::stream(device_));
    });
  }
  return norm;
}

Tensor FusedUpdate::loss_gradient(double factor) {
  Tensor gradient = Tensor::empty({1}, DType::f32, device_);
  if constexpr (kWithCuda) {
    cuda::loss_gradient(static_cast<const StepState*>(state_.raw()), factor,
                        gradient.device_data<float>(), cuda::stream(device_));
  }
  return gradient;
}

void FusedUpdate::take_step(const Rule& rule, const cuda::StepRequest& request) {
  take_gradients();
  dispatch_parameters(dtype_, [&]<typename T>(Type<T>) {
    std::visit(
        [&]<typename R>(const R& r) {
          if constexpr (kWithCuda) {
            const cuda::Stream stream = cuda::stream(device_);
            auto* const prepared =
                static_cast<cuda::PreparedStep<typename R::template Step<T>>*>(prepared_.raw());
            cuda::prepare_step<T, R>(r, request, static_cast<StepState*>(state_.raw()), prepared,
                                     stream);
            cuda::update_parameters<T, R>(table_of<T>(rows_, chunks_), prepared, stream);
          }
        },
        rule);
  });
}

void FusedUpdate::step(const Rule& rule, double lr, double grad_scale) {
  cuda::StepRequest request;
  request.lr = lr;
  request.grad_scale = grad_scale;
  take_step(rule, request);
}

void FusedUpdate::step(const Rule& rule, double lr, const StepLimits& limits) {
  for (const Tensor* value : {&limits.loss, &limits.norm}) {
    check_shape("optimizer", "the loss or norm", *value, {1});
  }
  cuda::StepRequest request;
  request.lr = lr;
  request.loss = limits.loss.device_data<double>();
  request.norm = limits.norm.device_data<double>();
  request.max_norm = limits.max_norm;
  request.adaptive = limits.adaptive;
  take_step(rule, request);
}

StepState FusedUpdate::state() const {
  StepState state;
  std::memcpy(&state, state_.to(Device::cpu()).raw(), sizeof(state));
  return state;
}

void FusedUpdate::set_state(const StepState& state) {
  state_.copy_from(upload(std::span<const StepState>(&state, 1), Device::cpu()));
}

}  // namespace rondo
