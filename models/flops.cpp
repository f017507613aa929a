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
  const double pairs = batch * (steps * memory + steps * (steps + 1.0) / 2.0);

  TrainingFlops flops;
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
