// Rondo inside another program: a small SRU++ learns one sentence by heart, then goes on by itself.
#include <cstdio>
#include <optional>
#include <string>

#include <rondo/rondo.h>

namespace {

const std::string kSentence = "the quick brown fox jumps over the lazy dog. ";

std::string repeat(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) {
    result += text;
  }
  return result;
}

}  // namespace

int main() try {
  // The text, and its distinct bytes as the ids the model works on.
  const rondo::Corpus corpus =
      rondo::Corpus::from("sentence", repeat(kSentence, 40), kSentence, kSentence);
  const rondo::Vocabulary& vocabulary = corpus.vocabulary();
  rondo::StreamOptions streams;
  streams.batch_size = 4;
  streams.unroll = 32;
  const rondo::StreamBatcher batches(corpus.split(rondo::Split::train), streams);

  // Two SRU++ layers, the second with attention.
  rondo::ModelConfig config;
  config.hidden_size = 64;
  config.projection_size = 16;
  config.num_layers = 2;
  config.attention_last_n_layers = 1;
  rondo::Generator generator(/*seed=*/1);
  rondo::Initializer init(generator);
  const auto model = rondo::build_language_model(config, vocabulary.size(), init);
  const rondo::Parameters parameters = model->parameters();
  std::printf("%lld parameters\n", static_cast<long long>(rondo::count(parameters)));

  rondo::OptimizerConfig optimizer_config;  // RAdam
  optimizer_config.lr = 0.01;
  const auto optimizer = rondo::make_optimizer(optimizer_config, parameters);

  // Truncated backpropagation: the state runs on from one segment to the next.
  double first_loss = 0.0;
  double loss = 0.0;
  for (int epoch = 0; epoch < 12; ++epoch) {
    rondo::LanguageModelState state;
    rondo::LanguageModelContext context;
    context.forward = {/*training=*/true, &generator};
    context.memory_length = streams.unroll;
    for (std::int64_t i = 0; i < batches.segments(); ++i) {
      const rondo::Segment segment = batches.segment(i);
      const rondo::Variable nats = model->loss(segment.inputs, segment.targets, state, context);
      rondo::zero_grads(parameters);
      rondo::backward(nats);
      optimizer->step(optimizer_config.lr, rondo::clip_factor(rondo::grad_norm(parameters), 1.0));
      loss = nats.value().item();
      if (epoch == 0 && i == 0) {
        first_loss = loss;
      }
    }
  }
  std::printf("loss %.3f before, %.3f after training, in nats a character\n", first_loss, loss);

  rondo::GenerationOptions generation;
  generation.length = 60;
  generation.window = streams.unroll;
  generation.sampling.temperature = 0.0;  // always the likeliest byte
  const std::string prompt = "the quick";
  std::string text = prompt;
  rondo::generate(*model, vocabulary.encode(prompt), generation, [&](std::int32_t id) {
    text += vocabulary.text_after(std::nullopt, id);
    return true;
  });
  std::printf("it writes: %s\n", text.c_str());

  if (!(loss < 0.5 * first_loss)) {
    std::fprintf(stderr, "the loss did not fall by half\n");
    return 1;
  }
  return 0;
} catch (const rondo::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
