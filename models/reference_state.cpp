#include "models/reference_state.h"

#include <algorithm>
#include <cstring>

namespace rondo {
namespace {

// Moves whole rows of `row_bytes`: from (outer, inner) order to (inner, outer) order.
Tensor transpose_rows(const Tensor& tensor, std::int64_t outer, std::int64_t inner,
                      std::int64_t repeats, std::size_t row_bytes) {
  require_cpu("reference_state", tensor.device());
  Tensor result = Tensor::empty(tensor.shape(), tensor.dtype());
  const auto* from = static_cast<const std::byte*>(tensor.raw());
  auto* to = static_cast<std::byte*>(result.raw());
  for (std::int64_t r = 0; r < repeats; ++r) {
    for (std::int64_t i = 0; i < outer; ++i) {
      for (std::int64_t j = 0; j < inner; ++j) {
        const auto target = static_cast<std::size_t>((r * inner + j) * outer + i);
        const auto source = static_cast<std::size_t>((r * outer + i) * inner + j);
        std::memcpy(to + target * row_bytes, from + source * row_bytes, row_bytes);
      }
    }
  }
  return result;
}

bool contains(const Parameters& all, std::string_view name) {
  return std::any_of(all.begin(), all.end(),
                     [&](const NamedVariable& p) { return p.name == name; });
}

void replace(std::string& text, std::string_view from, std::string_view to) {
  if (const std::size_t at = text.find(from); at != std::string::npos) {
    text.replace(at, from.size(), to);
  }
}

// The path of the transform that `name` belongs to ("rnn.layers.0.transform."), or nothing.
std::string transform_prefix(std::string_view name) {
  constexpr std::string_view marker = "transform.";
  const std::size_t at = name.find(marker);
  return at == std::string_view::npos ? std::string()
                                      : std::string(name.substr(0, at + marker.size()));
}

// Whether `name` is the product that gives U: the one with the highest number in its transform.
bool gives_u(std::string_view name, const Parameters& all) {
  const std::string prefix = transform_prefix(name);
  if (prefix.empty()) {
    return false;
  }
  for (const int number : {3, 2, 1}) {
    const std::string candidate = fmt::format("{}linear{}.weight", prefix, number);
    if (contains(all, candidate)) {
      return candidate == name;
    }
  }
  return false;
}

}  // namespace

Tensor planes_from_interleaved(const Tensor& tensor, std::int64_t units) {
  check(tensor.shape().rank() >= 1 && units > 0 && tensor.size(0) % units == 0,
        "[reference] shape {} has no {} units in its leading dimension", tensor.shape().str(),
        units);
  const std::size_t row_bytes =
      static_cast<std::size_t>(tensor.shape().without_leading().numel()) * size_of(tensor.dtype());
  return transpose_rows(tensor, units, tensor.size(0) / units, 1, row_bytes);
}

Tensor last_planes_from_interleaved(const Tensor& tensor, std::int64_t units) {
  return transpose_rows(tensor, units, tensor.shape().back() / units, tensor.shape().rows(),
                        size_of(tensor.dtype()));
}

Tensor last_interleaved_from_planes(const Tensor& tensor, std::int64_t units) {
  return transpose_rows(tensor, tensor.shape().back() / units, units, tensor.shape().rows(),
                        size_of(tensor.dtype()));
}

std::string reference_name(std::string_view name, ModelType type, const Parameters& all) {
  std::string result(name);
  if (name.starts_with("softmax.") || name.starts_with("embedding.projections.")) {
    replace(result, "softmax.clusters.", "output_layer.out_layers.");
    replace(result, "softmax.projections.", "output_layer.out_projs.");
    replace(result, "embedding.projections.", "embedding_layer.emb_projs.");
    return result;
  }
  if (type == ModelType::sru) {  // a bare Linear, or a Sequential of two with numbers from 0
    const bool projected = contains(all, transform_prefix(name) + "linear2.weight");
    replace(result, "transform.linear1.", projected ? "transform.0." : "transform.");
    replace(result, "transform.linear2.", "transform.1.");
  }
  replace(result, "transform.", "transform_module.");
  replace(result, "layers.", "rnn_lst.");
  if (result.starts_with("embedding.")) {
    replace(result, "embedding.", "embedding_layer.");
  } else if (result.starts_with("output.")) {
    replace(result, "output.", "output_layer.");
  }
  return result;
}

Tensor from_reference_layout(std::string_view name, const Parameters& all,
                             const Tensor& reference) {
  if (!gives_u(name, all)) {
    return reference;
  }
  const std::string layer = transform_prefix(name);
  const std::string bias = layer.substr(0, layer.size() - std::strlen("transform.")) + "bias";
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const NamedVariable& p) { return p.name == bias; });
  check(found != all.end(), "[reference] {} has no {} beside it", name, bias);
  return planes_from_interleaved(reference, found->variable.size(0) / 2);
}

void load_reference(const Parameters& parameters, ModelType type,
                    const std::function<Tensor(const std::string& reference_name)>& lookup) {
  for (NamedVariable parameter : parameters) {
    const Tensor given = lookup(reference_name(parameter.name, type, parameters));
    check_shape("load_reference", parameter.name, given, parameter.variable.shape());
    parameter.variable.value().copy_from(
        from_reference_layout(parameter.name, parameters, given).to(parameter.variable.dtype()));
  }
}

}  // namespace rondo
