#include "core/parallel.h"
#include "tools/commands.h"
#include "tools/text.h"
#include "trainers/model_file.h"

namespace rondo {
namespace {

struct GenerateOptions {
  std::string path;
  std::string prompt = "\n";
  GenerationOptions generation;
  std::int64_t samples = 1;
  std::string device = "cpu";
  int threads = 0;
};

void run_generate(const GenerateOptions& options) {
  set_num_threads(options.threads);
  check(!options.prompt.empty(), "--prompt is empty; give at least one character to start from");
  const Device device = Device::parse(options.device);
  require_available(device);
  const LoadedModel loaded = load_model(load_checkpoint(options.path), device);
  GenerationOptions generation = options.generation;
  generation.window = loaded.description.window;
  const Vocabulary& vocabulary = loaded.description.vocabulary;
  const std::string prompt = known_prompt(vocabulary, options.prompt);
  check(!vocabulary.encode(prompt).empty(),
        "--prompt: the model's {} leave nothing of it; give at least a word",
        name(vocabulary.unit()));
  if (options.samples == 1) {
    print_generated(*loaded.model, vocabulary, prompt, generation);
  } else {
    print_samples(*loaded.model, vocabulary, prompt, options.samples, generation);
  }
}

}  // namespace

void add_generate_command(CLI::App& app) {
  auto options = std::make_shared<GenerateOptions>();
  GenerationOptions& generation = options->generation;
  CLI::App* command = app.add_subcommand("generate", "Write text with a trained model");
  command
      ->add_option("checkpoint", options->path,
                   "A run folder (its best checkpoint), a checkpoint, or model.safetensors")
      ->required();
  command->add_option("--prompt", options->prompt, "Text to start from; a line break if not given");
  command->add_option("--length", generation.length, "Bytes, words or pieces to write")
      ->check(whole_number(0))
      ->capture_default_str();
  command
      ->add_option("--temperature", generation.sampling.temperature,
                   "Below 1 safer, above 1 wilder; 0: always the likeliest")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  command->add_option("--top-k", generation.sampling.top_k, "Only the k likeliest; 0: all")
      ->check(whole_number(0))
      ->capture_default_str();
  command
      ->add_option("--top-p", generation.sampling.top_p,
                   "Only the likeliest that together have this probability")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  command->add_option("--seed", generation.seed, "The same seed writes the same text")
      ->capture_default_str();
  command
      ->add_option("--samples", options->samples,
                   "Texts to write, all together; the first is what one alone would be")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}))
      ->capture_default_str();
  add_device_option(*command, options->device);
  add_threads_option(*command, options->threads);
  command->footer(R"(Examples:
  rondo generate runs/quickstart --prompt "#include" --length 400
  rondo generate runs/quickstart --temperature 0.7 --top-k 40 --seed 3
  rondo generate runs/quickstart --prompt "#include" --samples 4 --device cuda)");
  command->callback([options] { run_generate(*options); });
}

}  // namespace rondo
