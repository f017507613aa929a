
#include "core/error.h"
#include "data/prepare.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/progress.h"

namespace rondo {
namespace {

struct PrepareOptions {
  std::string source;
  std::string output;
  std::string url;
};

void report(const PreparedCorpus& prepared, const std::string& output) {
  const CorpusManifest& manifest = prepared.manifest;
  fmt::print("{}: {} distinct bytes\n", output, manifest.vocabulary.size());
  for (const Split split : kSplits) {
    fmt::print("  {:<5} {:>12} bytes\n", name(split), manifest.splits[index(split)].bytes);
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

}  // namespace

void add_prepare_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("prepare", "Make a corpus folder for training");
  require_command(*command);
  command->footer(R"(Examples:
  rondo prepare enwik8
  rondo prepare text book.txt --output data/book)");

  auto enwik8_options = std::make_shared<PrepareOptions>();
  enwik8_options->output = "data/enwik8";
  enwik8_options->url = Enwik8Options().url;
  CLI::App* enwik8 = command->add_subcommand(
      "enwik8", "Enwik8: 90, 5 and 5 million bytes of Wikipedia, checked against its checksum");
  enwik8->add_option("source", enwik8_options->source,
                     "enwik8, enwik8.zip, or the beginning of enwik8; downloaded if not given");
  enwik8->add_option("--output", enwik8_options->output, "Folder to make")->capture_default_str();
  enwik8->add_option("--url", enwik8_options->url, "Where to download from")->capture_default_str();
  enwik8->footer(R"(Examples:
  rondo prepare enwik8
  rondo prepare enwik8 ~/Downloads/enwik8.zip --output data/enwik8

A broken download goes on where it stopped when the command is given again.)");
  enwik8->callback([enwik8_options] {
    Enwik8Options options;
    options.source = enwik8_options->source;
    options.output = enwik8_options->output;
    options.url = enwik8_options->url;
    options.progress = download_progress();
    report(prepare_enwik8(options), enwik8_options->output);
  });

  auto text_options = std::make_shared<PrepareOptions>();
  CLI::App* text =
      command->add_subcommand("text", "Any file, split by position: 90% train, 5% dev, 5% test");
  text->add_option("source", text_options->source, "The file")->required();
  text->add_option("--output", text_options->output, "Folder to make; data/<name of the file>");
  text->footer(R"(Example:
  rondo prepare text book.txt --output data/book
  rondo train configs/quickstart.yaml --set data.corpus=data/book --set run.folder=runs/book)");
  text->callback([text_options] {
    TextOptions options;
    options.source = text_options->source;
    if (text_options->output.empty()) {
      text_options->output = (std::filesystem::path("data") / options.source.stem()).string();
    }
    options.output = text_options->output;
    report(prepare_text(options), text_options->output);
  });
}

}  // namespace rondo
