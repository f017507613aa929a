// A tensor that remembers how it was computed, so that gradients can flow back through it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace rondo {

namespace detail {
struct Node;
struct VariableState;
}  // namespace detail

// Gradients of an operation's inputs, in their order, from those of its outputs. An output that
// nothing depended on has an undefined gradient; an input that needs none may get an undefined one.
// A returned tensor belongs to the engine: it must not share elements with anything kept elsewhere.
// The gradients of the outputs belong to the function, so it may return one of them, or parts of
// one, as they are, but no element twice.
using Gradient = std::function<std::vector<Tensor>(std::span<const Tensor> grad_outputs)>;

// A handle: copies share the value, the gradient and the history.
class Variable {
 public:
  Variable() = default;
  // A leaf: a parameter when requires_grad, else a constant.
  explicit Variable(Tensor value, bool requires_grad = false);

  bool defined() const { return state_ != nullptr; }
  // Operations keep their inputs, not copies of them: whoever writes to one before backward() has
  // been there gets the gradient of what was written.
  const Tensor& value() const;
  Tensor& value();
  const Shape& shape() const { return value().shape(); }
  std::int64_t size(int dim) const { return value().size(dim); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }

  bool requires_grad() const;
  // The gradient accumulated in this leaf by backward(); undefined before the first.
  const Tensor& grad() const;
  Tensor& grad();
  void zero_grad();

  // The same value without history: gradients stop here.
  Variable detach() const;

 private:
  friend std::vector<Variable> record(std::string_view, std::vector<Tensor>,
                                      std::span<const Variable>, Gradient);
  friend void backward(const Variable&, const Tensor&);

  std::shared_ptr<detail::VariableState> state_;
};

// True when operations on this thread remember their history (the default).
bool grad_enabled();

// While it lives, operations on this thread keep no history.
class NoGradGuard {
 public:
  NoGradGuard();
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  bool previous_;
};

// True when an operation on these inputs must be recorded: ops skip what only backward needs
// otherwise. Undefined variables (optional inputs not given) count as constants.
bool needs_grad(std::span<const Variable> inputs);
bool needs_grad(std::initializer_list<Variable> inputs);

// Makes an operation's outputs part of the history of `inputs`; `gradient` is kept only if
// needs_grad(inputs). `op` names the operation in messages.
std::vector<Variable> record(std::string_view op, std::vector<Tensor> outputs,
                             std::span<const Variable> inputs, Gradient gradient);
// The usual case of one output.
Variable record(std::string_view op, Tensor output, std::initializer_list<Variable> inputs,
                Gradient gradient);

// Adds d(root)/d(leaf) to the gradient of every leaf that `root` depends on. `grad` is the gradient
// of root, 1 when not given (root must then hold one element). The history is released on the way:
// a second backward through it throws Error.
void backward(const Variable& root, const Tensor& grad = Tensor());

}  // namespace rondo
