#include "trainers/learning_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/svg.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

bool contains(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

LearningCurve falling_curve(std::int64_t steps) {
  LearningCurve curve;
  for (std::int64_t step = 1; step <= steps; ++step) {
    curve.train.push_back({step, 2.0 + 6.0 * 50.0 / (50.0 + static_cast<double>(step))});
  }
  for (std::int64_t step = steps / 10; step <= steps; step += steps / 10) {
    curve.dev.push_back({step, curve.train[static_cast<std::size_t>(step) - 1].figure + 0.1});
  }
  return curve;
}

}  // namespace

TEST_CASE("a learning curve shows both series, ticks and the best value",
          "[trainers][learning_curve][cpu]") {
  LearningCurve curve = falling_curve(400);
  curve.title = "quick & <small>";
  curve.dev[7].figure = 2.25;  // step 320
  const std::string svg = draw_learning_curve(curve);
  const std::vector<std::string> shown = require_well_formed(svg);
  for (const char* text :
       {"quick &amp; &lt;small&gt;", "step", "bits per character", "train", "train, moving average",
        "dev", "0", "50", "400", "2.250", "best dev: 2.250 at step 320"}) {
    INFO(text);
    REQUIRE(contains(shown, text));
  }
  REQUIRE(count(svg, "<polyline") == 3);
  REQUIRE(draw_learning_curve(curve) == svg);

  curve.dev[2].figure = 2.125;  // step 120
  REQUIRE(contains(require_well_formed(draw_learning_curve(curve)), "best dev: 2.125 at step 120"));
}

TEST_CASE("a long learning curve stays a small file", "[trainers][learning_curve][cpu]") {
  const LearningCurve curve = falling_curve(400000);
  const std::string svg = draw_learning_curve(curve);
  const std::vector<std::string> shown = require_well_formed(svg);
  REQUIRE(contains(shown, "50k"));
  REQUIRE(contains(shown, "400k"));
  REQUIRE(svg.size() < 100000);
}

TEST_CASE("odd learning curves are drawn all the same", "[trainers][learning_curve][cpu]") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::nan("");
  REQUIRE(contains(require_well_formed(draw_learning_curve({})), "nothing measured yet"));
  const std::vector<std::vector<CurvePoint>> odd = {
      {{0, 2.0}},
      {{10, 2.0}},
      {{1, 2.0}, {2, 2.0}, {3, 2.0}},
      {{5, 2.0}, {5, 3.0}},
      {{0, 0.0}, {1, 0.0}},
      {{1, -1.0}, {2, 1.0}},
      {{1, 2.0}, {2, nan}, {3, infinity}, {4, 2.5}},
      {{1, 2.0}, {2, 1e300}, {3, -1e300}},
      {{1, 1e-300}, {std::numeric_limits<std::int64_t>::max(), 2e-300}},
  };
  for (const auto& points : odd) {
    for (const bool train : {false, true}) {
      for (const bool dev : {false, true}) {
        INFO("first step " << points[0].step << ", points " << points.size());
        LearningCurve curve;
        curve.train = train ? points : std::vector<CurvePoint>{};
        curve.dev = dev ? points : std::vector<CurvePoint>{};
        const std::vector<std::string> shown = require_well_formed(draw_learning_curve(curve));
        REQUIRE(contains(shown, "nothing measured yet") == (!train && !dev));
      }
    }
  }
  const LearningCurve nothing_finite{"", {{1, nan}}, {{1, infinity}}};
  REQUIRE(
      contains(require_well_formed(draw_learning_curve(nothing_finite)), "nothing measured yet"));
}

TEST_CASE("a title is cut between letters", "[trainers][learning_curve][cpu]") {
  LearningCurve curve;
  curve.title.clear();
  for (int i = 0; i < 64; ++i) {
    curve.title += "\u00e9";
  }
  const std::string whole = curve.title;
  REQUIRE(contains(require_well_formed(draw_learning_curve(curve)), whole));
  curve.title += "\u00e9";
  REQUIRE(contains(require_well_formed(draw_learning_curve(curve)), whole + "\u2026"));
}

TEST_CASE("a learning curve comes from the metrics of train and dev",
          "[trainers][learning_curve][cpu]") {
  const std::vector<MetricsRecord> records = {{"train", 10, {{"bpc", 4.0}}},
                                              {"dev", 20, {{"bpc", 3.0}}},
                                              {"test", 20, {{"bpc", 3.5}}},
                                              {"train", 20, {{"lr", 1.0}}},
                                              {"train", 30, {{"bpc", 2.0}}}};
  const LearningCurve curve = learning_curve(records, "name");
  REQUIRE(curve.title == "name");
  REQUIRE(curve.train.size() == 2);
  REQUIRE(curve.train[1].step == 30);
  REQUIRE(curve.train[1].figure == 2.0);
  REQUIRE(curve.dev.size() == 1);
  REQUIRE(curve.dev[0].figure == 3.0);
}
