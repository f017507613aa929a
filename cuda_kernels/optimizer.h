// GPU kernels of the optimizer step: the norm of the gradient, the decision whether a step is
// taken, and the step, over all parameters of a model at once. T is float or double.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/scalar/optimizer_step.h"

namespace rondo::cuda {

// One parameter, in a table in device memory. All pointers are device pointers to `count` elements.
template <typename T>
struct ParameterRow {
  T* parameter = nullptr;   // +=
  const T* grad = nullptr;  // null: zero
  T* first = nullptr;       // = the moment m, or SGD's velocity
  T* second = nullptr;      // = the moment v; null with SGD
  std::int64_t count = 0;
};

// The elements of a parameter that one block of a kernel takes: kChunkElements from `begin` on, or
// what there is.
inline constexpr std::int64_t kChunkElements = 4096;
struct ParameterChunk {
  std::int64_t row = 0;
  std::int64_t begin = 0;
};

// The table: `rows` of them, and `chunks` that cover every element once. In device memory.
template <typename T>
struct ParameterTable {
  ParameterRow<T>* rows = nullptr;
  const ParameterChunk* chunks = nullptr;
  std::int64_t chunk_count = 0;
};

// Gradients as they travel to the table: as arguments of a launch, which may not exceed 4 KiB.
inline constexpr std::int64_t kGradientsAtOnce = 256;
template <typename T>
struct GradientPointers {
  const T* grad[kGradientsAtOnce];
};

// rows[first + i].grad = gradients.grad[i], for i below `count`.
template <typename T>
void set_gradients(const ParameterTable<T>& table, std::int64_t first, std::int64_t count,
                   const GradientPointers<T>& gradients, Stream stream);

// *norm = the Euclidean norm of all gradients / state->loss_scale, summed in double in an order
// that only the sizes decide. partials: scratch, chunk_count.
template <typename T>
void grad_norm(const ParameterTable<T>& table, const StepState* state, double* partials,
               double* norm, Stream stream);

// *to = factor * state->loss_scale: what the backward pass starts from.
void loss_gradient(const StepState* state, double factor, float* to, Stream stream);

// What a step is to be.
struct StepRequest {
  double lr = 0.0;
  double grad_scale = 1.0;  // a factor of the gradient
  // Null, or one value each: then admit_step decides, and the gradient is clipped to max_norm (0:
  // no limit) and divided by the loss scale as well.
  const double* loss = nullptr;
  const double* norm = nullptr;
  double max_norm = 0.0;
  bool adaptive = false;  // the loss scale
};

// A step as the elements' kernel needs it.
template <typename Step>
struct PreparedStep {
  Step step;
  bool taken;
};

// Decides on a step: *state moves on, *prepared = its constants. Rule is AdamRule or SgdRule.
template <typename T, typename Rule>
void prepare_step(const Rule& rule, const StepRequest& request, StepState* state,
                  PreparedStep<typename Rule::template Step<T>>* prepared, Stream stream);

// Moves all parameters and moments by a prepared step (core/scalar/adam_step.inc), if it is taken.
template <typename T, typename Rule>
void update_parameters(const ParameterTable<T>& table,
                       const PreparedStep<typename Rule::template Step<T>>* prepared,
                       Stream stream);

}  // namespace rondo::cuda
