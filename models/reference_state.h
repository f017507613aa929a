// Reads weights written by the reference implementation (asappresearch/sru, 3.0.0-dev), whose names
// and layouts differ from ours.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "models/config.h"
#include "models/module.h"

namespace rondo {

// The reference keeps the k values of a unit together; we keep k planes of D units. Turns a tensor
// whose leading size is D*k, row (unit, j), into row (j, unit).
Tensor planes_from_interleaved(const Tensor& tensor, std::int64_t units);
// The same for the last dimension: (..., D*k) by units to (..., k*D) by planes; and back.
Tensor last_planes_from_interleaved(const Tensor& tensor, std::int64_t units);
Tensor last_interleaved_from_planes(const Tensor& tensor, std::int64_t units);

// The reference's name of our parameter `name` ("rnn.layers.0.transform.linear1.weight" is
// "rnn.rnn_lst.0.transform_module.linear1.weight"). SRU and SRU++ name their products differently;
// `all` are the parameters of the model that `name` is one of.
std::string reference_name(std::string_view name, ModelType type, const Parameters& all);

// The tensor `reference` of our parameter `name`, in our layout.
Tensor from_reference_layout(std::string_view name, const Parameters& all, const Tensor& reference);

// Fills `parameters` (an SRU or SRU++ stack, or a language model of one) with the tensors that
// `lookup` finds under the reference's names. Throws Error for a wrong shape.
void load_reference(const Parameters& parameters, ModelType type,
                    const std::function<Tensor(const std::string& reference_name)>& lookup);

}  // namespace rondo
