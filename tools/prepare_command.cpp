
#include <filesystem>

#include "core/error.h"
#include "data/prepare.h"
#include "data/prepare_words.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/progress.h"

namespace rondo {
namespace {

struct PrepareOptions {
  std::string source;
  std::string output;
  std::string url;
  std::string vocabulary;
  std::string unit = "bytes";
  std::string name;
  std::uint64_t seed = BillionWordOptions().seed;
  std::int64_t bytes = 0;
  std::int64_t least_count = 1;
};

void report(const PreparedCorpus& prepared, const std::string& output) {
  const CorpusManifest& manifest = prepared.manifest;
  const std::string_view unit = name(manifest.vocabulary.unit());
  fmt::print("{}: {} distinct {}{}\n", output, manifest.vocabulary.size(), unit,
             prepared.files > 1 ? fmt::format(", from {} files", prepared.files) : "");
  for (const Split split : kSplits) {
    fmt::print("  {:<5} {:>12} {}\n", name(split), manifest.splits[index(split)].tokens, unit);
  }
}

// A line that says how far the download is; redrawn on a terminal, silent elsewhere.
DownloadProgress download_progress() {
  if (!detect_terminal(2).interactive) {
    return {};
  }
  return [](std::uint64_t done, std::uint64_t total) {
    fmt::print(stderr, "\rdownloading: {} of {} bytes", format_count(static_cast<double>(done)),
               total > 0 ? format_count(static_cast<double>(total)) : "?");
    if (done == total) {
      fmt::print(stderr, "\n");
    }
  };
}

void add_output(CLI::App& command, PrepareOptions& options, const std::string& folder) {
  options.output = folder;
  command.add_option("--output", options.output, "Folder to make")->capture_default_str();
}

// A published corpus that can be had from its address, too.
template <typename Options>
void add_published(CLI::App& prepare, const Options& corpus, const std::string& what,
                   const std::string& source, PreparedCorpus (*make)(const Options&)) {
  auto given = std::make_shared<PrepareOptions>();
  given->url = corpus.url;
  CLI::App* command = prepare.add_subcommand(corpus.name, what);
  command->add_option("source", given->source, source + "; downloaded if not given");
  add_output(*command, *given, "data/" + corpus.name);
  command->add_option("--url", given->url, "Where to download from")->capture_default_str();
  command->footer(fmt::format(R"(Examples:
  rondo prepare {0}
  rondo prepare {0} ~/Downloads/{0}.zip --output data/{0}

A broken download goes on where it stopped when the command is given again.)",
                              corpus.name));
  command->callback([given, corpus, make] {
    Options options = corpus;
    options.source = given->source;
    options.output = given->output;
    options.url = given->url;
    options.progress = download_progress();
    report(make(options), given->output);
  });
}

// Enwik8 and text8.
void add_large_text(CLI::App& prepare, const LargeTextOptions& text, const std::string& what) {
  add_published(prepare, text, what,
                fmt::format("{0}, {0}.zip, or the beginning of {0}", text.name),
                prepare_large_text);
}

void add_wikitext(CLI::App& prepare, const WikiTextOptions& text, const std::string& what) {
  add_published(prepare, text, what,
                "Folder with wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens, or the ZIP "
                "archive",
                prepare_wikitext);
}

void add_billion_word(CLI::App& prepare) {
  auto given = std::make_shared<PrepareOptions>();
  CLI::App* command =
      prepare.add_subcommand("billion-word", "One Billion Word: shuffled sentences of news");
  command
      ->add_option("source", given->source,
                   "The unpacked 1-billion-word-language-modeling-benchmark-r13output")
      ->required();
  command
      ->add_option("--vocabulary", given->vocabulary,
                   "Its vocabulary: a word first on every line, <S> and <UNK> among them")
      ->required();
  add_output(*command, *given, "data/billion-word");
  command->add_option("--seed", given->seed, "Fixes the order of the training sentences")
      ->capture_default_str();
  command->callback([given] {
    BillionWordOptions options;
    options.source = given->source;
    options.vocabulary = given->vocabulary;
    options.output = given->output;
    options.seed = given->seed;
    report(prepare_billion_word(options), given->output);
  });
}

void prepare_any_text(PrepareOptions& given) {
  const std::filesystem::path source = given.source;
  const std::string name =
      given.name.empty() ? std::filesystem::path(given.source).lexically_normal().stem().string()
                         : given.name;
  if (given.output.empty()) {
    given.output = (std::filesystem::path("data") / name).string();
  }
  const auto bytes = static_cast<std::uint64_t>(given.bytes);
  if (given.unit == "words") {
    report(prepare_word_text({source, given.output, name, bytes, given.least_count}), given.output);
    return;
  }
  check(given.least_count == 1, "--least-count is for --unit words; bytes are all known");
  report(prepare_text({source, given.output, name, bytes}), given.output);
}

void add_text(CLI::App& prepare) {
  auto given = std::make_shared<PrepareOptions>();
  CLI::App* command = prepare.add_subcommand(
      "text", "A file or folder of yours, split by position: 90% train, 5% dev, 5% test");
  command
      ->add_option(
          "source", given->source,
          "A file, a folder with train.txt, dev.txt and test.txt, or any folder: the files "
          "below it, in the order of their paths, are one text")
      ->required();
  command->add_option("--output", given->output, "Folder to make; data/<name>");
  command->add_option("--name", given->name, "Of the corpus; the name of the file or folder");
  command->add_option("--unit", given->unit, "What a model predicts: bytes or words")
      ->check(CLI::IsMember({"bytes", "words"}))
      ->capture_default_str();
  command->add_option("--bytes", given->bytes, "Take only the first so many bytes; 0: all")
      ->check(whole_number(0));
  command
      ->add_option("--least-count", given->least_count,
                   "With words: those met less often in train are <unk>")
      ->check(whole_number(1))
      ->capture_default_str();
  command->footer(R"(Examples:
  rondo prepare text book.txt --output data/book
  rondo prepare text linux-6.1 --bytes 100000000 --name linux
  rondo prepare text book.txt --unit words --least-count 3
  rondo train configs/quickstart.yaml --set data.corpus=data/book --set run.folder=runs/book)");
  command->callback([given] { prepare_any_text(*given); });
}

}  // namespace

void add_prepare_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("prepare", "Make a corpus folder for training");
  require_command(*command);
  command->footer(R"(Examples:
  rondo prepare enwik8
  rondo prepare wikitext-103
  rondo prepare text book.txt --output data/book)");
  add_large_text(*command, enwik8(),
                 "Enwik8: 90, 5 and 5 million bytes of Wikipedia, checked against its checksum");
  add_large_text(*command, text8(), "text8: the same text as a to z and blanks");
  add_wikitext(*command, wikitext_103(), "WikiText-103: 103 million words of Wikipedia");
  add_wikitext(*command, wikitext_2(), "WikiText-2: 2 million words of Wikipedia");
  add_billion_word(*command);
  add_text(*command);
}

}  // namespace rondo
