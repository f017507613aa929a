// cuDNN's RNN functions, of its version 9 (NVIDIA: cuDNN API, cudnn_adv library). Nothing here is
// compiled where the build found no cuDNN.
#include "cuda_kernels/cudnn_lstm.h"

#ifdef RONDO_WITH_CUDNN

#include <cudnn.h>
#include <dlfcn.h>

#include <array>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/cuda_call.h"
#include "core/error.h"

namespace rondo::cuda {
namespace {

constexpr int kGates = 4;

// cuDNN itself, or null without it. Linked in, a program could not start where it is missing. It
// stays open: its handles live as long as the process.
void* library() {
  static void* const opened = [] {
    const std::string name = fmt::format("libcudnn.so.{}", CUDNN_MAJOR);
    for (const std::string& path : {name, fmt::format("{}/{}", RONDO_CUDNN_LIBRARIES, name)}) {
      if (void* const found = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
        return found;
      }
    }
    return static_cast<void*>(nullptr);
  }();
  return opened;
}

// The function of cuDNN that is named `name` and has the type of `Function`.
template <typename Function>
Function* find(const char* name) {
  auto* const found = reinterpret_cast<Function*>(dlsym(library(), name));
  check(found != nullptr, "[lstm] libcudnn.so.{} has no {}; install its version {}.{}", CUDNN_MAJOR,
        name, CUDNN_MAJOR, CUDNN_MINOR);
  return found;
}

// Calls it, and throws Error unless it succeeds.
template <typename Function, typename... Arguments>
void call(const char* name, Arguments... arguments) {
  const cudnnStatus_t status = find<Function>(name)(arguments...);
  if (status != CUDNN_STATUS_SUCCESS) {
    std::array<char, 1024> reason{};
    find<decltype(cudnnGetLastErrorString)>("cudnnGetLastErrorString")(reason.data(),
                                                                       reason.size());
    fail("[lstm] cuDNN reports {} from {}: {}",
         find<decltype(cudnnGetErrorString)>("cudnnGetErrorString")(status), name, reason.data());
  }
}

// A descriptor that is destroyed with its owner.
template <typename Handle>
class Descriptor {
 public:
  // The names of the functions that make one and destroy it.
  Descriptor(const char* create, const char* destroy)
      : destroy_(find<cudnnStatus_t(Handle)>(destroy)) {
    call<cudnnStatus_t(Handle*)>(create, &handle_);
  }
  ~Descriptor() { destroy_(handle_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  operator Handle() const { return handle_; }

 private:
  cudnnStatus_t (*destroy_)(Handle);
  Handle handle_ = nullptr;
};

// The handle of the current device, made when it is first needed, with work going to `stream`.
cudnnHandle_t handle_for(Stream stream) {
  static std::mutex mutex;
  static std::map<int, cudnnHandle_t> handles;
  int device = 0;
  check_call("lstm", cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  cudnnHandle_t& handle = handles[device];
  if (handle == nullptr) {
    call<decltype(cudnnCreate)>("cudnnCreate", &handle);
  }
  call<decltype(cudnnSetStream)>("cudnnSetStream", handle, native(stream));
  return handle;
}

cudnnDataType_t native(DType type) {
  return type == DType::f16    ? CUDNN_DATA_HALF
         : type == DType::bf16 ? CUDNN_DATA_BFLOAT16
                               : CUDNN_DATA_FLOAT;
}

}  // namespace

bool cudnn_has_lstm(DType type) {
  if (library() == nullptr || (type != DType::f32 && type != DType::f16 && type != DType::bf16)) {
    return false;
  }
  static const std::size_t version = find<decltype(cudnnGetVersion)>("cudnnGetVersion")();
  return version >= (type == DType::bf16 ? 91300U : 90000U);
}

struct CudnnLstm::Description {
  CudnnLstmSizes sizes;
  Stream stream;
  cudnnHandle_t handle;
  Descriptor<cudnnRNNDescriptor_t> layer{"cudnnCreateRNNDescriptor", "cudnnDestroyRNNDescriptor"};
  Descriptor<cudnnDropoutDescriptor_t> dropout{"cudnnCreateDropoutDescriptor",
                                               "cudnnDestroyDropoutDescriptor"};
  Descriptor<cudnnRNNDataDescriptor_t> x{"cudnnCreateRNNDataDescriptor",
                                         "cudnnDestroyRNNDataDescriptor"};
  Descriptor<cudnnRNNDataDescriptor_t> h{"cudnnCreateRNNDataDescriptor",
                                         "cudnnDestroyRNNDataDescriptor"};
  Descriptor<cudnnTensorDescriptor_t> state{"cudnnCreateTensorDescriptor",
                                            "cudnnDestroyTensorDescriptor"};
  std::size_t weight_bytes = 0;

  // Where in `space` the matrix and the bias of a gate are, and of which matrix: 0 to 3 are i, f, g
  // and o of weight_ih, 4 to 7 those of weight_hh, which have no bias.
  struct Place {
    void* matrix = nullptr;
    void* bias = nullptr;
  };
  Place place(int gate, const void* space) const {
    const Descriptor<cudnnTensorDescriptor_t> matrix("cudnnCreateTensorDescriptor",
                                                     "cudnnDestroyTensorDescriptor");
    const Descriptor<cudnnTensorDescriptor_t> bias("cudnnCreateTensorDescriptor",
                                                   "cudnnDestroyTensorDescriptor");
    Place found;
    call<decltype(cudnnGetRNNWeightParams)>(
        "cudnnGetRNNWeightParams", handle, static_cast<cudnnRNNDescriptor_t>(layer), 0,
        weight_bytes, space, gate, static_cast<cudnnTensorDescriptor_t>(matrix), &found.matrix,
        static_cast<cudnnTensorDescriptor_t>(bias), &found.bias);
    return found;
  }

  // Calls copy(in the layout of cuDNN, its place in our array `index` in bytes, index, bytes) for
  // every part; the arrays are weight_ih, weight_hh and bias.
  template <typename Copy>
  void for_each_part(const void* space, const Copy& copy) const {
    const std::size_t element = size_of(sizes.type);
    const auto units = static_cast<std::size_t>(sizes.units);
    const std::array columns = {static_cast<std::size_t>(sizes.inputs), units};
    for (int gate = 0; gate < 2 * kGates; ++gate) {
      const Place part = place(gate, space);
      const auto row = static_cast<std::size_t>(gate % kGates);
      const std::size_t matrix = gate < kGates ? 0 : 1;
      const std::size_t bytes = units * columns[matrix] * element;
      copy(part.matrix, row * bytes, matrix, bytes);
      if (matrix == 0) {
        copy(part.bias, row * units * element, std::size_t{2}, units * element);
      }
    }
  }
};

CudnnLstm::CudnnLstm(const CudnnLstmSizes& sizes, Stream stream)
    : description_(
          new Description{.sizes = sizes, .stream = stream, .handle = handle_for(stream)}) {
  Description& d = *description_;
  const auto batch = static_cast<int>(sizes.batch);
  const auto steps = static_cast<int>(sizes.steps);
  const auto inputs = static_cast<int>(sizes.inputs);
  const auto units = static_cast<int>(sizes.units);
  const cudnnDataType_t type = native(sizes.type);
  const cudnnMathType_t math = sizes.type != DType::f32 ? CUDNN_TENSOR_OP_MATH
                               : sizes.tf32             ? CUDNN_DEFAULT_MATH
                                                        : CUDNN_FMA_MATH;
  const cudnnRNNDescriptor_t layer = d.layer;
  const cudnnDropoutDescriptor_t no_dropout = d.dropout;
  call<decltype(cudnnSetDropoutDescriptor)>("cudnnSetDropoutDescriptor", no_dropout, d.handle, 0.0F,
                                            nullptr, std::size_t{0}, 0ULL);
  call<decltype(cudnnSetRNNDescriptor_v8)>(
      "cudnnSetRNNDescriptor_v8", layer, CUDNN_RNN_ALGO_STANDARD, CUDNN_LSTM,
      CUDNN_RNN_SINGLE_INP_BIAS, CUDNN_UNIDIRECTIONAL, CUDNN_LINEAR_INPUT, type, CUDNN_DATA_FLOAT,
      math, inputs, units, units, 1, no_dropout, CUDNN_RNN_PADDED_IO_ENABLED);
  const std::vector<int> lengths(static_cast<std::size_t>(batch), steps);
  const auto describe_sequence = [&](cudnnRNNDataDescriptor_t sequence, int size) {
    float padding = 0.0F;
    call<decltype(cudnnSetRNNDataDescriptor)>("cudnnSetRNNDataDescriptor", sequence, type,
                                              CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED, steps,
                                              batch, size, lengths.data(), &padding);
  };
  describe_sequence(d.x, inputs);
  describe_sequence(d.h, units);
  const std::array state = {1, batch, units};
  const std::array strides = {batch * units, units, 1};
  call<decltype(cudnnSetTensorNdDescriptor)>("cudnnSetTensorNdDescriptor",
                                             static_cast<cudnnTensorDescriptor_t>(d.state), type, 3,
                                             state.data(), strides.data());
  call<decltype(cudnnGetRNNWeightSpaceSize)>("cudnnGetRNNWeightSpaceSize", d.handle, layer,
                                             &d.weight_bytes);
}

CudnnLstm::~CudnnLstm() = default;
CudnnLstm::CudnnLstm(CudnnLstm&&) noexcept = default;
CudnnLstm& CudnnLstm::operator=(CudnnLstm&&) noexcept = default;

std::size_t CudnnLstm::weight_bytes() const { return description_->weight_bytes; }

std::size_t CudnnLstm::workspace_bytes(bool training) const {
  std::size_t workspace = 0;
  std::size_t reserve = 0;
  call<decltype(cudnnGetRNNTempSpaceSizes)>(
      "cudnnGetRNNTempSpaceSizes", description_->handle,
      static_cast<cudnnRNNDescriptor_t>(description_->layer),
      training ? CUDNN_FWD_MODE_TRAINING : CUDNN_FWD_MODE_INFERENCE,
      static_cast<cudnnRNNDataDescriptor_t>(description_->x), &workspace, &reserve);
  return workspace;
}

std::size_t CudnnLstm::reserve_bytes() const {
  std::size_t workspace = 0;
  std::size_t reserve = 0;
  call<decltype(cudnnGetRNNTempSpaceSizes)>(
      "cudnnGetRNNTempSpaceSizes", description_->handle,
      static_cast<cudnnRNNDescriptor_t>(description_->layer), CUDNN_FWD_MODE_TRAINING,
      static_cast<cudnnRNNDataDescriptor_t>(description_->x), &workspace, &reserve);
  return reserve;
}

void CudnnLstm::pack(const void* weight_ih, const void* weight_hh, const void* bias,
                     void* space) const {
  const std::array from = {weight_ih, weight_hh, bias};
  description_->for_each_part(
      space, [&](void* part, std::size_t place, std::size_t index, std::size_t bytes) {
        copy_on_device(part, static_cast<const std::byte*>(from[index]) + place, bytes,
                       description_->stream);
      });
}

void CudnnLstm::unpack(const void* space, void* weight_ih, void* weight_hh, void* bias) const {
  const std::array to = {weight_ih, weight_hh, bias};
  description_->for_each_part(space, [&](const void* part, std::size_t place, std::size_t index,
                                         std::size_t bytes) {
    copy_on_device(static_cast<std::byte*>(to[index]) + place, part, bytes, description_->stream);
  });
}

void CudnnLstm::forward(const Forward& layer) const {
  const Description& d = *description_;
  const bool training = layer.reserve != nullptr;
  const cudnnTensorDescriptor_t state = d.state;
  // All texts have the same length, so the lengths need not be on the device as well (null).
  call<decltype(cudnnRNNForward)>(
      "cudnnRNNForward", d.handle, static_cast<cudnnRNNDescriptor_t>(d.layer),
      training ? CUDNN_FWD_MODE_TRAINING : CUDNN_FWD_MODE_INFERENCE, nullptr,
      static_cast<cudnnRNNDataDescriptor_t>(d.x), layer.x,
      static_cast<cudnnRNNDataDescriptor_t>(d.h), layer.h, state, layer.h0, layer.h_last, state,
      layer.c0, layer.c_last, d.weight_bytes, layer.weights, workspace_bytes(training),
      layer.workspace, training ? reserve_bytes() : std::size_t{0}, layer.reserve);
}

void CudnnLstm::backward(const Backward& layer) const {
  const Description& d = *description_;
  const Forward& of = layer.forward;
  const cudnnRNNDescriptor_t rnn = d.layer;
  const cudnnRNNDataDescriptor_t x = d.x;
  const cudnnRNNDataDescriptor_t h = d.h;
  const cudnnTensorDescriptor_t state = d.state;
  const std::size_t workspace = workspace_bytes(true);
  const std::size_t reserve = reserve_bytes();
  call<decltype(cudnnRNNBackwardData_v8)>(
      "cudnnRNNBackwardData_v8", d.handle, rnn, nullptr, h, of.h, layer.grad_h, x, layer.grad_x,
      state, of.h0, layer.grad_h_last, layer.grad_h0, state, of.c0, layer.grad_c_last,
      layer.grad_c0, d.weight_bytes, of.weights, workspace, of.workspace, reserve, of.reserve);
  // After the call above, which leaves in the reserve what this one reads. It can only add.
  set_bytes(layer.grad_weights, 0, d.weight_bytes, d.stream);
  call<decltype(cudnnRNNBackwardWeights_v8)>("cudnnRNNBackwardWeights_v8", d.handle, rnn,
                                             CUDNN_WGRAD_MODE_ADD, nullptr, x, of.x, state, of.h0,
                                             h, of.h, d.weight_bytes, layer.grad_weights, workspace,
                                             of.workspace, reserve, of.reserve);
}

}  // namespace rondo::cuda

#endif
