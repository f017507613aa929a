#include <chrono>
#include <filesystem>

#include "core/error.h"
#include "data/prepare.h"
#include "data/prepare_billion_word.h"
#include "data/prepare_pieces.h"
#include "data/prepare_wikitext.h"
#include "data/prepare_words.h"
#include "data/text_source.h"
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
  std::string pieces;
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

// A line that says what is done and how far it is; redrawn on a terminal, silent elsewhere.
PrepareProgress progress_line() {
  if (!detect_terminal(2).interactive) {
    return {};
  }
  using Clock = std::chrono::steady_clock;
  return [last = Clock::time_point()](std::string_view step, std::uint64_t done,
                                      std::uint64_t total) mutable {
    constexpr auto kOften = std::chrono::milliseconds(100);
    const Clock::time_point now = Clock::now();
    if (done != total && now - last < kOften) {
      return;
    }
    last = now;
    fmt::print(
        stderr, "\r{}: {} of {} bytes\033[K{}", step, format_count(static_cast<double>(done)),
        total > 0 ? format_count(static_cast<double>(total)) : "?", done == total ? "\n" : "");
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
    options.progress = progress_line();
    report(make(options), given->output);
  });
}

// Enwik8 and text8.
void add_large_text(CLI::App& prepare, const LargeTextOptions& text, const std::string& what) {
  add_published(prepare, text, what,
                fmt::format("{0}, an archive of it, or the beginning of {0}", text.name),
                prepare_large_text);
}

void add_wikitext(CLI::App& prepare, const WikiTextOptions& text, const std::string& what) {
  add_published(prepare, text, what,
                "Folder with wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens, or an "
                "archive of it",
                prepare_wikitext);
}

void add_billion_word(CLI::App& prepare) {
  auto given = std::make_shared<PrepareOptions>();
  CLI::App* command =
      prepare.add_subcommand("billion-word", "One Billion Word: shuffled sentences of news");
  command->add_option("source", given->source,
                      "1-billion-word-language-modeling-benchmark-r13output.tar.gz or the folder "
                      "it holds; downloaded if not given");
  command->add_option("--vocabulary", given->vocabulary,
                      "Its vocabulary, which the archive lacks: a word first on every line, <S> "
                      "and <UNK> among them");
  add_output(*command, *given, "data/billion-word");
  given->url = BillionWordOptions().url;
  command->add_option("--url", given->url, "Where to download from")->capture_default_str();
  command->add_option("--seed", given->seed, "Fixes the order of the training sentences")
      ->capture_default_str();
  command->footer(R"(Examples:
  rondo prepare billion-word --vocabulary words.txt
  rondo prepare billion-word ~/Downloads/billion-word.tar.gz --vocabulary words.txt

An archive is unpacked inside the folder that is made and needs 4.1 GB there meanwhile, its download
1.7 GB more. A broken download goes on where it stopped when the command is given again.)");
  command->callback([given] {
    check(!given->vocabulary.empty(),
          "billion-word needs --vocabulary FILE: the benchmark's published vocabulary, which is "
          "not in "
          "the archive; a word first on every line, <S> and <UNK> among them");
    BillionWordOptions options;
    options.source = given->source;
    options.url = given->url;
    options.progress = progress_line();
    options.vocabulary = given->vocabulary;
    options.output = given->output;
    options.seed = given->seed;
    report(prepare_billion_word(options), given->output);
  });
}

void prepare_any_text(PrepareOptions& given) {
  const std::filesystem::path source = given.source;
  const std::string name = given.name.empty() ? corpus_name(source) : given.name;
  if (given.output.empty()) {
    given.output = (std::filesystem::path("data") / name).string();
  }
  check(given.least_count == 1 || given.unit == "words",
        "--least-count is for --unit words; bytes and pieces are all known");
  check(given.pieces.empty() == (given.unit != "pieces"),
        "--unit pieces and --sentencepiece FILE.model belong together");
  const TextOptions text{source, given.output, name, static_cast<std::uint64_t>(given.bytes),
                         progress_line()};
  const auto prepare = [&] {
    if (given.unit == "words") {
      return prepare_words(text, given.least_count);
    }
    return given.unit == "pieces" ? prepare_pieces(text, given.pieces) : prepare_text(text);
  };
  report(prepare(), given.output);
}

void add_text(CLI::App& prepare) {
  auto given = std::make_shared<PrepareOptions>();
  CLI::App* command = prepare.add_subcommand(
      "text", "A file, folder or archive of yours, split by position: 90% train, 5% dev, 5% test");
  command
      ->add_option(
          "source", given->source,
          "A file, a folder with train.txt, dev.txt and test.txt, or any folder: the files "
          "below it, in the order of their paths, are one text. An archive is taken as the folder "
          "it holds")
      ->required();
  command->add_option("--output", given->output, "Folder to make; data/<name>");
  command->add_option("--name", given->name, "Of the corpus; the name of the source");
  command->add_option("--unit", given->unit, "What a model predicts: bytes, words or pieces")
      ->check(CLI::IsMember({"bytes", "words", "pieces"}))
      ->capture_default_str();
  command->add_option("--sentencepiece", given->pieces,
                      "With pieces: the SentencePiece model that knows them, a .model file");
  command->add_option("--bytes", given->bytes, "Take only the first so many bytes; 0: all")
      ->check(whole_number(0));
  command
      ->add_option("--least-count", given->least_count,
                   "With words: those met less often in train are <unk>")
      ->check(whole_number(1))
      ->capture_default_str();
  command->footer(
      R"(An archive is a ZIP or a tar, packed by gzip, bzip2, xz or Zstandard or not, or one packed file.

Examples:
  rondo prepare text book.txt --output data/book
  rondo prepare text linux-6.1.tar.xz --bytes 100000000
  rondo prepare text book.txt --unit words --least-count 3
  rondo prepare text book.txt --unit pieces --sentencepiece book.model
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
