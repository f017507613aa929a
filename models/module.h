// What every module shares: named parameters, initialisation, and how a forward pass is run.
#pragma once

#include <string>
#include <vector>

#include "autograd/variable.h"
#include "core/precision.h"
#include "core/random.h"

namespace rondo {

struct NamedVariable {
  std::string name;
  Variable variable;
};

// A module's parameters in a fixed order. Names are dotted paths:
// "layers.0.transform.linear1.weight".
using Parameters = std::vector<NamedVariable>;

// Adds `from` to `into`, each name behind `prefix` and a dot.
void append(Parameters& into, std::string_view prefix, const Parameters& from);
// The number of elements of all parameters.
std::int64_t count(const Parameters& parameters);

// Makes parameters. Every module draws from one generator in construction order, so a seed fixes
// all weights; on the meta device shapes are made without values.
class Initializer {
 public:
  explicit Initializer(Generator& generator, Device device = Device::cpu(),
                       DType dtype = DType::f32)
      : generator_(generator), device_(device), dtype_(dtype) {}

  // Uniform in +-range.
  Variable uniform(const Shape& shape, double range);
  // A matrix (out, in), Xavier uniform times `gain`: +-gain * sqrt(6 / (in + out)).
  Variable xavier(std::int64_t out, std::int64_t in, double gain = 1.0);
  Variable constant(const Shape& shape, double value);

 private:
  Generator& generator_;
  Device device_;
  DType dtype_;
};

// How to run a forward pass.
struct ForwardContext {
  bool training = false;                 // dropout is applied
  Generator* generator = nullptr;        // needed in training when any dropout is above 0
  Precision precision = Precision::f32;  // of matrix products
};

// The type of activations beside this parameter: its own, or where it is f32 on a GPU that of the
// context's precision.
DType activation_type(const Variable& parameter, const ForwardContext& context);

// dropout(x, p) in training, x itself otherwise.
Variable dropout_in_training(const Variable& x, double p, const ForwardContext& context);

}  // namespace rondo
