// A SentencePiece model for tests, trained on the spot.
#pragma once

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/error.h"

namespace rondo::testing {

// The content of the .model file of `pieces` pieces learned from `lines`; `options` are further
// options of spm_train.
inline std::string train_piece_model(
    std::vector<std::string> lines, int pieces,
    const std::unordered_map<std::string, std::string>& options = {}) {
  class Lines : public sentencepiece::SentenceIterator {
   public:
    explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
    bool done() const override { return at_ == lines_.size(); }
    void Next() override { ++at_; }
    const std::string& value() const override { return lines_[at_]; }
    sentencepiece::util::Status status() const override { return {}; }

   private:
    std::vector<std::string> lines_;
    std::size_t at_ = 0;
  };
  std::unordered_map<std::string, std::string> all = {
      {"vocab_size", std::to_string(pieces)}, {"minloglevel", "2"}, {"num_threads", "1"}};
  for (const auto& [name, value] : options) {
    all[name] = value;
  }
  Lines iterator(std::move(lines));
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(all, &iterator, &model);
  check(status.ok(), "SentencePiece cannot train a model: {}", status.ToString());
  return model;
}

// Lines of few words, again and again.
inline std::vector<std::string> piece_lines() {
  std::vector<std::string> lines;
  for (int i = 0; i < 200; ++i) {
    constexpr std::array<std::string_view, 5> kWords = {"the cat", "reads", "a reader", "rereads",
                                                        "cats"};
    std::string line;
    for (int word = 0; word < 4; ++word) {
      line += (word > 0 ? " " : "");
      line += kWords[static_cast<std::size_t>((i * (word + 2) + word) % 5)];
    }
    lines.push_back(line);
  }
  return lines;
}

}  // namespace rondo::testing
