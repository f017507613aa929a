#include "trainers/evaluation.h"

#include <cmath>
#include <stdexcept>

#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::int64_t kVocabularySize = 9;

// Every second byte value from 'a' on: ids are not bytes.
ByteVocabulary vocabulary() {
  Bytes bytes;
  for (std::int64_t id = 0; id < kVocabularySize; ++id) {
    bytes.push_back(static_cast<std::uint8_t>('a' + 2 * id));
  }
  return ByteVocabulary(bytes);
}

Bytes random_text(std::int64_t size) {
  Generator generator(5);
  Bytes text;
  const Tensor ids = random_ids({size}, kVocabularySize, generator);
  for (const std::int32_t id : ids.values<std::int32_t>()) {
    text.push_back(vocabulary().byte(id));
  }
  return text;
}

std::unique_ptr<LanguageModel> model() {
  return scrambled_model(tiny_config(), kVocabularySize, DType::f64, 1, test_device());
}

EvaluationOptions options_of(std::int64_t window, std::int64_t batch_size = 1,
                             std::int64_t max_tokens = 0) {
  EvaluationOptions options;
  options.window = window;
  options.batch_size = batch_size;
  options.max_tokens = max_tokens;
  return options;
}

// The nats of every prediction in `text`, in one pass over the whole of it: each position sees the
// `window` positions before its own, so that where windows are cut makes no difference.
std::vector<double> nats_of(const LanguageModel& model, std::span<const std::uint8_t> text,
                            std::int64_t window) {
  const auto count = static_cast<std::int64_t>(text.size()) - 1;
  const std::vector<std::int32_t> ids =
      vocabulary().encode({reinterpret_cast<const char*>(text.data()), text.size()});
  const NoGradGuard no_grad;
  LanguageModelState state;
  const Tensor inputs =
      on_test_device(Tensor::from(std::span(ids).first(text.size() - 1), {count, 1}));
  const Tensor logits = on_cpu(model.logits(inputs, state, {{}, 0, window}).value());
  std::vector<double> nats;
  for (std::int64_t t = 0; t < count; ++t) {
    const Tensor row = logits[t];
    double total = 0.0;
    for (const double score : row.values<double>()) {
      total += std::exp(score);
    }
    const std::int32_t target = ids[static_cast<std::size_t>(t + 1)];
    nats.push_back(std::log(total) - row.data<double>()[target]);
  }
  return nats;
}

double sum(const std::vector<double>& values) {
  double total = 0.0;
  for (const double value : values) {
    total += value;
  }
  return total;
}

void require_mean(const EvaluationResult& result, double nats, std::size_t tokens) {
  REQUIRE(result.tokens == static_cast<std::int64_t>(tokens));
  REQUIRE(result.nats_per_token ==
          Approx(nats / static_cast<double>(tokens)).epsilon(1e-12).margin(0));
}

}  // namespace

TEST_CASE("evaluate predicts every byte but the first", "[trainers][evaluation]") {
  const auto lm = model();
  const Bytes text = random_text(90);
  // 89 predictions: the last window is shorter, of one position, whole, or the only one.
  for (const std::int64_t window : {1, 7, 8, 11, 88, 89, 200}) {
    INFO("window " << window);
    const std::vector<double> expected = nats_of(*lm, text, window);
    require_mean(evaluate(*lm, TokenText(text, vocabulary()), options_of(window)), sum(expected),
                 89);
  }
  // The window counts: what is compared above is not the same for all.
  REQUIRE(std::abs(sum(nats_of(*lm, text, 1)) - sum(nats_of(*lm, text, 7))) > 1e-6);
}

TEST_CASE("bits per character are nats over ln 2", "[trainers][evaluation]") {
  EvaluationResult result;
  result.nats_per_token = 2 * std::log(2.0);
  REQUIRE(result.bits_per_character() == Approx(2.0).epsilon(1e-15));
}

TEST_CASE("a batch is as many texts of their own", "[trainers][evaluation]") {
  const auto lm = model();
  const Bytes text = random_text(90);
  const std::span<const std::uint8_t> all(text);
  // 89 predictions make three streams of 29; the last two are left out.
  double expected = 0.0;
  for (std::size_t stream = 0; stream < 3; ++stream) {
    expected += sum(nats_of(*lm, all.subspan(stream * 29, 30), 8));
  }
  require_mean(evaluate(*lm, TokenText(text, vocabulary()), options_of(8, 3)), expected, 87);
}

TEST_CASE("max_tokens takes the beginning", "[trainers][evaluation]") {
  const auto lm = model();
  const Bytes text = random_text(60);
  const std::vector<double> all = nats_of(*lm, text, 8);
  for (const std::size_t count : {1U, 7U, 8U, 30U, 58U, 59U, 60U, 5000U}) {
    INFO("max_tokens " << count);
    const std::size_t taken = std::min<std::size_t>(count, 59);
    const std::vector<double> first(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(taken));
    require_mean(evaluate(*lm, TokenText(text, vocabulary()),
                          options_of(8, 1, static_cast<std::int64_t>(count))),
                 sum(first), taken);
  }
}

TEST_CASE("evaluate leaves no history, gradient or state behind", "[trainers][evaluation]") {
  const auto lm = model();
  const Bytes text = random_text(40);
  const EvaluationResult first = evaluate(*lm, TokenText(text, vocabulary()), options_of(8));
  REQUIRE(evaluate(*lm, TokenText(text, vocabulary()), options_of(8)).nats_per_token ==
          first.nats_per_token);
  for (const NamedVariable& parameter : lm->parameters()) {
    REQUIRE_FALSE(parameter.variable.grad().defined());
  }
  REQUIRE(grad_enabled());
}

TEST_CASE("progress is told of every window and may stop it", "[trainers][evaluation]") {
  const auto lm = model();
  const Bytes text = random_text(40);
  using Calls = std::vector<std::pair<std::int64_t, std::int64_t>>;
  Calls calls;
  EvaluationOptions options = options_of(8, 2);
  options.progress = [&](std::int64_t done, std::int64_t total) {
    calls.emplace_back(done, total);
  };
  evaluate(*lm, TokenText(text, vocabulary()), options);
  REQUIRE(calls == Calls{{16, 38}, {32, 38}, {38, 38}});

  options.progress = [](std::int64_t, std::int64_t) { throw std::runtime_error("stop"); };
  REQUIRE_THROWS_AS(evaluate(*lm, TokenText(text, vocabulary()), options), std::runtime_error);
  REQUIRE(grad_enabled());
}

TEST_CASE("evaluate says what is wrong with a text", "[trainers][evaluation]") {
  const auto lm = model();
  const auto error_for = [&](const Bytes& text, const EvaluationOptions& options) {
    const std::string message =
        error_of([&] { evaluate(*lm, TokenText(text, vocabulary()), options); });
    // The check made beforehand comes to the same.
    REQUIRE(error_of([&] { require_enough(TokenText(text, vocabulary()), options); }) == message);
    return message;
  };
  REQUIRE_THAT(error_for({}, options_of(8)), ContainsSubstring("the text has 0 tokens"));
  REQUIRE_THAT(error_for({'a'}, options_of(8)),
               ContainsSubstring("the text has 1 tokens") && ContainsSubstring("at least 2"));
  REQUIRE_THAT(error_for(random_text(10), options_of(8, 10)),
               ContainsSubstring("batch_size 10") && ContainsSubstring("lower batch_size"));
  REQUIRE_THAT(error_for(random_text(100), options_of(8, 10, 9)), ContainsSubstring("at least 11"));
  REQUIRE_THAT(error_for({'a', 'c', 'b', 'a'}, options_of(8)), ContainsSubstring("0x62 ('b')"));
  REQUIRE_THAT(error_for(random_text(10), options_of(0)), ContainsSubstring("unroll is 0"));
  const auto two = random_text(2);
  REQUIRE_NOTHROW(require_enough(TokenText(two, vocabulary()), options_of(8)));
}
