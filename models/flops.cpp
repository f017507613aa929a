#include "models/flops.h"

namespace rondo {
namespace {

// Output and gradient of the weight; the gradient of the input costs as much again as either.
double product_without_input_gradient(double rows, double in, double out) {
  return 4.0 * rows * in * out;
}

double product(double rows, double in, double out) {
  return product_without_input_gradient(rows, in, out) + 2.0 * rows * in * out;
}

double output_products(const ModelConfig& config, std::int64_t vocabulary_size, double rows) {
  const auto hidden = static_cast<double>(config.hidden_size);
  if (config.softmax == SoftmaxType::full) {
    return product(rows, hidden, static_cast<double>(vocabulary_size));
  }
  const auto row_size =
      static_cast<double>(config.embedding_size > 0 ? config.embedding_size : config.hidden_size);
  const auto& cutoffs = config.cutoffs;
  const std::int64_t head = cutoffs && !cutoffs->empty()
                                ? cutoffs->front() + static_cast<std::int64_t>(cutoffs->size())
                                : vocabulary_size;
  return 2.0 * product(rows, row_size, hidden) + product(rows, row_size, static_cast<double>(head));
}

// Pairs of a position and one that it sees, of `steps` positions after `memory` others.
double visible_pairs(double steps, double memory) {
  return steps * memory + steps * (steps + 1.0) / 2.0;
}

// What all layers of a Transformer need.
TrainingFlops transformer_flops(const ModelConfig& config, const SegmentSize& segment) {
  const bool relative = config.type == ModelType::transformer_xl;
  const auto layers = static_cast<double>(config.num_layers);
  const auto batch = static_cast<double>(segment.batch_size);
  const auto steps = static_cast<double>(segment.unroll);
  const auto memory = relative ? static_cast<double>(segment.memory_length) : 0.0;
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto inner = static_cast<double>(config.inner_size);
  const double heads =
      config.head_size > 0 ? static_cast<double>(config.num_heads * config.head_size) : hidden;
  const double rows = steps * batch;
  double layer = product(rows, hidden, heads) + product(rows, hidden, 2.0 * heads) +
                 product(rows, heads, hidden) + product(rows, hidden, inner) +
                 product(rows, inner, hidden);
  if (relative) {
    layer += product_without_input_gradient(memory * batch, hidden, 2.0 * heads) +
             product_without_input_gradient(memory + steps, hidden, heads);
  }
  const double products_of_pairs = relative ? 9.0 : 6.0;
  TrainingFlops flops;
  flops.layer_products = layers * layer;
  flops.attention = layers * products_of_pairs * 2.0 * batch * visible_pairs(steps, memory) * heads;
  return flops;
}

}  // namespace

TrainingFlops training_flops(const ModelConfig& config, std::int64_t vocabulary_size,
                             const SegmentSize& segment) {
  const auto batch = static_cast<double>(segment.batch_size);
  const auto steps = static_cast<double>(segment.unroll);
  const auto memory = static_cast<double>(segment.memory_length);
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto projection = static_cast<double>(config.projection_size);
  const double rows = steps * batch;
  const double planes = 3.0 * hidden;
  const double pairs = batch * visible_pairs(steps, memory);

  TrainingFlops flops;
  if (config.type == ModelType::transformer || config.type == ModelType::transformer_xl) {
    flops = transformer_flops(config, segment);
    flops.output = output_products(config, vocabulary_size, rows);
    return flops;
  }
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    if (config.type == ModelType::lstm || config.type == ModelType::sha_lstm) {
      const double gates = 4.0 * hidden;
      flops.layer_products += product(rows, hidden, gates) +
                              product_without_input_gradient(batch, hidden, gates) +
                              product(rows - batch, hidden, gates);
      if (config.type == ModelType::sha_lstm) {
        flops.layer_products += product(rows, hidden, static_cast<double>(config.inner_size));
      }
      if (layer_attends(config, layer)) {
        flops.layer_products += product(rows, hidden, hidden) + product(1.0, hidden, 2.0 * hidden);
        flops.attention += 6.0 * 2.0 * pairs * hidden;
      }
      continue;
    }
    if (config.projection_size == 0) {
      flops.layer_products += product(rows, hidden, planes);
      continue;
    }
    flops.layer_products += product(rows, hidden, projection) + product(rows, projection, planes);
    if (layer_attends(config, layer)) {
      flops.layer_products += product_without_input_gradient(memory * batch, hidden, projection) +
                              product((memory + steps) * batch, projection, 2.0 * projection);
      flops.attention += 6.0 * 2.0 * pairs * projection;
    }
  }
  flops.output = output_products(config, vocabulary_size, rows);
  return flops;
}

}  // namespace rondo
