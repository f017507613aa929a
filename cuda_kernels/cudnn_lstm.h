// A whole LSTM layer by cuDNN 9, which is loaded when it is first asked for. Only for use where
// kWithCudnn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/cuda.h"
#include "core/dtype.h"

namespace rondo::cuda {

// Whether this build knows cuDNN; whether the machine has it, cudnn_has_lstm says.
#ifdef RONDO_WITH_CUDNN
inline constexpr bool kWithCudnn = true;
#else
inline constexpr bool kWithCudnn = false;
#endif

// Whether cuDNN can be loaded, and is of a version that knows layers of `type`: f32 and f16, and
// bf16 from 9.13. f64, which is for gradient checks, is not asked of it.
bool cudnn_has_lstm(DType type);

// One layer in one direction, with gates in the order i, f, g, o, and one bias. Every matrix,
// activation and state has the type `type`. With `tf32`, f32 products may be rounded to it.
struct CudnnLstmSizes {
  std::int64_t steps = 0, batch = 0, inputs = 0, units = 0;
  DType type = DType::f32;
  bool tf32 = false;
};

// What cuDNN needs to know about a layer. Works on the current device (cuda::stream makes it that).
// Moves, does not copy. Throws Error with cuDNN's words when it refuses.
class CudnnLstm {
 public:
  CudnnLstm(const CudnnLstmSizes& sizes, Stream stream);
  ~CudnnLstm();
  CudnnLstm(CudnnLstm&&) noexcept;
  CudnnLstm& operator=(CudnnLstm&&) noexcept;

  std::size_t weight_bytes() const;                  // of all weights and the bias, in its layout
  std::size_t workspace_bytes(bool training) const;  // for one call
  std::size_t reserve_bytes() const;                 // from forward to backward

  // space = weight_ih (4 * units, inputs), weight_hh (4 * units, units) and bias (4 * units) in the
  // layout of cuDNN; and back.
  void pack(const void* weight_ih, const void* weight_hh, const void* bias, void* space) const;
  void unpack(const void* space, void* weight_ih, void* weight_hh, void* bias) const;

  struct Forward {
    const void* x = nullptr;        // (steps, batch, inputs)
    const void* h0 = nullptr;       // (batch, units)
    const void* c0 = nullptr;       // (batch, units)
    const void* weights = nullptr;  // weight_bytes
    void* h = nullptr;              // (steps, batch, units): =
    void* h_last = nullptr;         // (batch, units): =
    void* c_last = nullptr;         // (batch, units): =
    void* workspace = nullptr;      // workspace_bytes(reserve != nullptr)
    void* reserve = nullptr;        // reserve_bytes: =; null where there is no backward pass
  };
  void forward(const Forward& layer) const;

  struct Backward {
    Forward forward;                    // as it was; of the workspace any content
    const void* grad_h = nullptr;       // (steps, batch, units)
    const void* grad_h_last = nullptr;  // (batch, units); null for zeros
    const void* grad_c_last = nullptr;  // (batch, units); null for zeros
    void* grad_x = nullptr;             // (steps, batch, inputs): =
    void* grad_h0 = nullptr;            // (batch, units): =
    void* grad_c0 = nullptr;            // (batch, units): =
    void* grad_weights = nullptr;       // weight_bytes: =
  };
  void backward(const Backward& layer) const;

 private:
  struct Description;
  std::unique_ptr<Description> description_;
};

}  // namespace rondo::cuda
