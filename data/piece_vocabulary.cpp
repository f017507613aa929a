#include "data/piece_vocabulary.h"

#include <utility>

#include "core/error.h"
#include "data/word_vocabulary.h"
#ifdef RONDO_WITH_SENTENCEPIECE
#include <sentencepiece_processor.h>
#endif

namespace rondo {

namespace {

struct Piece {
  std::string text;  // what it adds inside of a line; nothing for <s> and its like
  std::string
      at_a_line_start;  // the same there: without the blank that the model begins lines with
};

}  // namespace

struct PieceVocabulary::Data {
  std::string model;
  std::int32_t line_end = 0;
  std::vector<Piece> pieces;
#ifdef RONDO_WITH_SENTENCEPIECE
  sentencepiece::SentencePieceProcessor processor;
#endif
};

#ifdef RONDO_WITH_SENTENCEPIECE
namespace {

// U+2581, which stands for a blank in pieces.
constexpr std::string_view kBlank = "\xe2\x96\x81";

// As SentencePiece decodes it alone.
std::string decoded_alone(const sentencepiece::SentencePieceProcessor& processor, int id) {
  std::string text;
  const auto status = processor.Decode(std::vector<int>{id}, &text);
  check(status.ok(), "[PieceVocabulary] SentencePiece cannot decode the piece {}: {}", id,
        status.ToString());
  return text;
}

Piece piece_of(const sentencepiece::SentencePieceProcessor& processor, int id) {
  if (processor.IsControl(id)) {
    const std::string text = id == processor.eos_id() ? "\n" : "";
    return {text, text};
  }
  const std::string& piece = processor.IdToPiece(id);
  if (processor.IsByte(id)) {  // <0xNN>; alone, SentencePiece makes letters of them
    const std::string text(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
    return {text, text};
  }
  const std::string alone = decoded_alone(processor, id);
  if (processor.IsUnknown(id)) {
    return {alone, alone};
  }
  std::string text;
  for (std::size_t at = 0; at < piece.size();) {
    const bool blank = piece.compare(at, kBlank.size(), kBlank) == 0;
    text += blank ? ' ' : piece[at];
    at += blank ? kBlank.size() : 1;
  }
  return {text, alone};
}

}  // namespace

bool has_sentencepiece() { return true; }

PieceVocabulary PieceVocabulary::from_model(std::string model) {
  auto data = std::make_shared<Data>();
  sentencepiece::SentencePieceProcessor& processor = data->processor;
  const auto status = processor.LoadFromSerializedProto(model);
  check(status.ok() && processor.GetPieceSize() > 0,
        "[PieceVocabulary] it is not a SentencePiece "
        "model{}",
        status.ok() ? "" : fmt::format(" ({})", status.ToString()));
  check(
      processor.eos_id() >= 0,
      "[PieceVocabulary] the SentencePiece model has no </s>, which stands for the end of a line; "
      "train it with --eos_id");
  data->line_end = processor.eos_id();
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    data->pieces.push_back(piece_of(processor, id));
  }
  data->model = std::move(model);
  return PieceVocabulary(std::move(data));
}

std::vector<std::int32_t> PieceVocabulary::encode_line(std::string_view line) const {
  std::vector<int> ids;
  const auto status = data_->processor.Encode(line, &ids);
  check(status.ok(), "[PieceVocabulary] SentencePiece cannot encode a line of {} bytes: {}",
        line.size(), status.ToString());
  return ids;
}
#else
namespace {

[[noreturn]] void fail_without() { fail("SentencePiece models: {}", kNoSentencePiece); }

}  // namespace

bool has_sentencepiece() { return false; }

PieceVocabulary PieceVocabulary::from_model(std::string) { fail_without(); }

std::vector<std::int32_t> PieceVocabulary::encode_line(std::string_view) const { fail_without(); }
#endif

std::int64_t PieceVocabulary::size() const {
  return static_cast<std::int64_t>(data_->pieces.size());
}

const std::string& PieceVocabulary::model() const { return data_->model; }

std::int32_t PieceVocabulary::line_end() const { return data_->line_end; }

std::vector<std::int32_t> PieceVocabulary::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  for_each_line(text, [&](std::string_view line) {
    const std::vector<std::int32_t> pieces = encode_line(line);
    ids.insert(ids.end(), pieces.begin(), pieces.end());
    ids.push_back(line_end());
  });
  if (!text.ends_with('\n') && !ids.empty()) {
    ids.pop_back();
  }
  return ids;
}

std::string PieceVocabulary::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  std::optional<std::int32_t> previous;
  for (const std::int32_t id : ids) {
    text += text_after(previous, id);
    previous = id;
  }
  return text;
}

std::string_view PieceVocabulary::text_after(std::optional<std::int32_t> previous,
                                             std::int32_t id) const {
  const auto piece = [this](std::int32_t of) -> const Piece& {
    check(of >= 0 && of < size(),
          "[PieceVocabulary] the id {} is not in the vocabulary of {} pieces", of, size());
    return data_->pieces[static_cast<std::size_t>(of)];
  };
  const bool line_starts = !previous || *previous == line_end() || piece(*previous).text.empty();
  return line_starts ? piece(id).at_a_line_start : piece(id).text;
}

}  // namespace rondo
