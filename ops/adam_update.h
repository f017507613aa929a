// The elementwise part of Adam, AdamW and RAdam, in place. No history: not for use in a model.
#pragma once

#include "core/scalar/optimizer_step.h"
#include "core/tensor.h"

namespace rondo {

// One step (core/scalar/adam_step.inc) of every element: moves the moments m and v by `grad`, then,
// if step.update, the parameter. All four have one shape and type, f32 or f64; the constants are
// rounded to it.
void adam_update(const AdamStep<double>& step, const Tensor& grad, Tensor& parameter, Tensor& m,
                 Tensor& v);

}  // namespace rondo
