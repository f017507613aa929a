#include "models/language_model.h"

#include <algorithm>
#include <charconv>

namespace rondo {
namespace {

// Puts `tensor` at the index that follows `prefix` in `name`; false if the name has another form.
bool place(std::string_view prefix, const NamedTensor& named, std::vector<Tensor>& into) {
  std::string_view name = named.name;
  if (!name.starts_with(prefix)) {
    return false;
  }
  name.remove_prefix(prefix.size());
  std::size_t index = 0;
  const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), index);
  constexpr std::size_t kMostLayers = 10000;
  if (status != std::errc{} || end != name.data() + name.size() || index >= kMostLayers) {
    return false;
  }
  into.resize(std::max(into.size(), index + 1));
  into[index] = named.tensor;
  return true;
}

}  // namespace

std::vector<NamedTensor> LanguageModelState::named() const {
  std::vector<NamedTensor> all;
  for (std::size_t i = 0; i < c.size(); ++i) {
    all.push_back({fmt::format("c.{}", i), c[i]});
  }
  for (std::size_t i = 0; i < h.size(); ++i) {
    all.push_back({fmt::format("h.{}", i), h[i]});
  }
  for (std::size_t i = 0; i < memory.size(); ++i) {
    if (memory[i].defined()) {
      all.push_back({fmt::format("memory.{}", i), memory[i]});
    }
  }
  return all;
}

LanguageModelState LanguageModelState::from_named(const std::vector<NamedTensor>& tensors) {
  LanguageModelState state;
  for (const NamedTensor& named : tensors) {
    check(place("c.", named, state.c) || place("h.", named, state.h) ||
              place("memory.", named, state.memory),
          "'{}' is no part of a language model's state; the checkpoint is of another version",
          named.name);
  }
  state.memory.resize(std::max(state.memory.size(), state.c.size()));
  return state;
}

}  // namespace rondo
