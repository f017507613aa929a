// Language models small enough to run thousands of times.
#pragma once

#include <memory>

#include "models/language_model.h"
#include "tests/support/testing.h"

namespace rondo::testing {

// SRU++ with three layers of six units, all attending, without dropout.
inline ModelConfig tiny_config() {
  ModelConfig config;
  config.hidden_size = 6;
  config.num_layers = 3;
  config.projection_size = 4;
  config.num_heads = 2;
  return config;
}

// Draws every parameter anew from +-0.6, so that nothing is left at a value that hides it (alpha
// starts at 0, and attention counts for nothing).
inline void scramble(const Parameters& parameters, std::uint64_t seed) {
  Generator generator(seed);
  for (NamedVariable parameter : parameters) {
    fill_uniform(parameter.variable.value(), -0.6, 0.6, generator);
  }
}

inline std::unique_ptr<LanguageModel> scrambled_model(const ModelConfig& config,
                                                      std::int64_t vocabulary_size,
                                                      DType dtype = DType::f32,
                                                      std::uint64_t seed = 1,
                                                      Device device = Device::cpu()) {
  Generator generator(seed);
  Initializer init(generator, device, dtype);
  auto model = build_language_model(config, vocabulary_size, init);
  scramble(model->parameters(), seed);
  return model;
}

inline Tensor random_ids(const Shape& shape, std::int64_t vocabulary_size, Generator& generator) {
  Tensor ids = Tensor::empty(shape, DType::i32);
  const RandomStream stream = generator.next();
  std::uint64_t index = 0;
  for (std::int32_t& id : ids.values<std::int32_t>()) {
    id = static_cast<std::int32_t>(stream.word(index++) %
                                   static_cast<std::uint32_t>(vocabulary_size));
  }
  return ids;
}

}  // namespace rondo::testing
