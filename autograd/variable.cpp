#include "autograd/variable.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <queue>
#include <unordered_map>

namespace rondo {
namespace detail {

struct VariableState {
  Tensor value;
  Tensor grad;
  bool requires_grad = false;
  std::shared_ptr<Node> producer;  // null for a leaf
  std::size_t output_index = 0;
};

// One recorded operation.
struct Node {
  std::uint64_t order = 0;  // later operations have larger numbers, so inputs come before outputs
  std::string op;
  std::vector<std::shared_ptr<VariableState>> inputs;  // null where no gradient is wanted
  std::size_t output_count = 0;
  Gradient gradient;  // empty once backward has run

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();
};

// Takes the history behind it apart in a loop: each operation owns those before it, and a long
// history released by recursion would overflow the stack.
Node::~Node() {
  std::vector<std::shared_ptr<VariableState>> released = std::move(inputs);
  while (!released.empty()) {
    const std::shared_ptr<VariableState> state = std::move(released.back());
    released.pop_back();
    if (state && state.use_count() == 1 && state->producer && state->producer.use_count() == 1) {
      auto& earlier = state->producer->inputs;
      std::move(earlier.begin(), earlier.end(), std::back_inserter(released));
      earlier.clear();
    }
  }
}

}  // namespace detail

namespace {

thread_local bool grad_mode = true;

std::uint64_t next_order() {
  static std::atomic<std::uint64_t> counter{0};
  return counter++;
}

void accumulate(Tensor& into, const Tensor& grad) {
  if (into.defined()) {
    into.add_(grad);
  } else {
    into = grad;
  }
}

}  // namespace

Variable::Variable(Tensor value, bool requires_grad)
    : state_(std::make_shared<detail::VariableState>()) {
  check(value.defined(), "[Variable] the value is an undefined tensor");
  check(!requires_grad || is_floating(value.dtype()),
        "[Variable] a tensor of {} cannot have a gradient; use a floating-point type",
        name(value.dtype()));
  state_->value = std::move(value);
  state_->requires_grad = requires_grad;
}

const Tensor& Variable::value() const {
  check(defined(), "[Variable] the value of an undefined variable was asked for");
  return state_->value;
}

Tensor& Variable::value() {
  check(defined(), "[Variable] the value of an undefined variable was asked for");
  return state_->value;
}

bool Variable::requires_grad() const { return defined() && state_->requires_grad; }

const Tensor& Variable::grad() const {
  check(defined(), "[Variable] the gradient of an undefined variable was asked for");
  return state_->grad;
}

Tensor& Variable::grad() {
  check(defined(), "[Variable] the gradient of an undefined variable was asked for");
  return state_->grad;
}

void Variable::zero_grad() { grad() = Tensor(); }

Variable Variable::detach() const { return Variable(value()); }

bool grad_enabled() { return grad_mode; }

NoGradGuard::NoGradGuard() : previous_(std::exchange(grad_mode, false)) {}

NoGradGuard::~NoGradGuard() { grad_mode = previous_; }

bool needs_grad(std::span<const Variable> inputs) {
  return grad_mode && std::any_of(inputs.begin(), inputs.end(),
                                  [](const Variable& input) { return input.requires_grad(); });
}

bool needs_grad(std::initializer_list<Variable> inputs) {
  return needs_grad(std::span<const Variable>(inputs.begin(), inputs.size()));
}

std::vector<Variable> record(std::string_view op, std::vector<Tensor> outputs,
                             std::span<const Variable> inputs, Gradient gradient) {
  std::shared_ptr<detail::Node> node;
  if (needs_grad(inputs)) {
    node = std::make_shared<detail::Node>();
    node->order = next_order();
    node->op = op;
    node->output_count = outputs.size();
    node->gradient = std::move(gradient);
    for (const Variable& input : inputs) {
      node->inputs.push_back(input.requires_grad() ? input.state_ : nullptr);
    }
  }
  std::vector<Variable> variables;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Variable variable(std::move(outputs[i]));
    variable.state_->requires_grad = node != nullptr;
    variable.state_->producer = node;
    variable.state_->output_index = i;
    variables.push_back(std::move(variable));
  }
  return variables;
}

Variable record(std::string_view op, Tensor output, std::initializer_list<Variable> inputs,
                Gradient gradient) {
  return record(op, std::vector<Tensor>{std::move(output)},
                std::span<const Variable>(inputs.begin(), inputs.size()), std::move(gradient))
      .front();
}

void backward(const Variable& root, const Tensor& grad) {
  check(root.requires_grad(),
        "[backward] the variable depends on nothing that requires a gradient; was it computed "
        "under NoGradGuard?");
  Tensor start = grad;
  if (!start.defined()) {
    check(root.value().numel() == 1,
          "[backward] a variable of shape {} needs its gradient given; only one element may start "
          "from 1",
          root.shape().str());
    start = Tensor::full(root.shape(), 1.0, root.dtype(), root.device());
  } else {
    check_shape("backward", "grad", start, root.shape());
    check_same_kind("backward", "grad", start, root.value());
    start = start.clone();
  }

  // The newest operation first: everything that uses its outputs has then been handled.
  using NodePtr = std::shared_ptr<detail::Node>;
  const auto older = [](const NodePtr& a, const NodePtr& b) { return a->order < b->order; };
  std::priority_queue<NodePtr, std::vector<NodePtr>, decltype(older)> pending(older);
  std::unordered_map<detail::Node*, std::vector<Tensor>> grad_outputs;

  const auto deliver = [&](const std::shared_ptr<detail::VariableState>& state, const Tensor& g) {
    if (!state->producer) {
      accumulate(state->grad, g);
      return;
    }
    auto [entry, first] = grad_outputs.try_emplace(state->producer.get());
    if (first) {
      entry->second.resize(state->producer->output_count);
      pending.push(state->producer);
    }
    accumulate(entry->second[state->output_index], g);
  };

  deliver(root.state_, start);
  while (!pending.empty()) {
    const NodePtr node = pending.top();
    pending.pop();
    check(static_cast<bool>(node->gradient),
          "[backward] the history of '{}' was released by an earlier backward; compute it again",
          node->op);
    const Gradient gradient = std::exchange(node->gradient, nullptr);
    const auto entry = grad_outputs.extract(node.get());
    const std::vector<Tensor> grads = gradient(entry.mapped());
    check(grads.size() == node->inputs.size(), "[{}] gave {} gradients for {} inputs", node->op,
          grads.size(), node->inputs.size());
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (const auto& input = node->inputs[i]; input && grads[i].defined()) {
        check_shape(node->op, "gradient", grads[i], input->value.shape());
        deliver(input, grads[i]);
      }
    }
    node->inputs.clear();
  }
}

}  // namespace rondo
