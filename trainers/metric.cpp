#include "trainers/metric.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

namespace rondo {

Metric metric_of(Unit unit) {
  return unit == Unit::bytes ? Metric::bits_per_character : Metric::perplexity;
}

double in_metric(Metric metric, double nats_per_token) {
  return metric == Metric::perplexity ? std::exp(nats_per_token)
                                      : nats_per_token / std::numbers::ln2;
}

std::string_view key(Metric metric) { return metric == Metric::perplexity ? "ppl" : "bpc"; }

std::string format_result(Metric metric, double nats_per_token, int digits) {
  const double figure = in_metric(metric, nats_per_token);
  return metric == Metric::perplexity ? fmt::format("{:.{}f} ppl", figure, 2 + digits)
                                      : fmt::format("{:.{}f} BPC", figure, 3 + digits);
}

}  // namespace rondo
