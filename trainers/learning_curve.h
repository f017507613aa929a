// learning_curve.svg: bits per character over the steps of a run, as a picture.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainers/metrics_log.h"

namespace rondo {

struct CurvePoint {
  std::int64_t step = 0;
  double figure = 0.0;  // BPC, or perplexity
};

struct LearningCurve {
  std::string title = "Learning curve";
  // In the order of steps. Points that are not finite are left out of the picture.
  std::vector<CurvePoint> train;
  std::vector<CurvePoint> dev;
  bool perplexity = false;  // the points are perplexities of words
};

// The "bpc", or "ppl" for words, of the "train" and "dev" records.
LearningCurve learning_curve(std::span<const MetricsRecord> records, std::string title);

// An SVG document of 720 by 420 pixels: training as a light line below its moving average, dev as a
// line with points, the lowest dev value marked. The same curve gives the same text. When the run
// is long enough to tell, the steep start may leave the picture at the top, so that the rest is
// readable.
std::string draw_learning_curve(const LearningCurve& curve);

}  // namespace rondo
