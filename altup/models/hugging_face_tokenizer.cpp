// tokenizer.json repeats SentencePiece's unigram model for the library "tokenizers": the same
// normalisation and pieces, the sentinels as tokens found before all else, and, as SentencePiece has
// it, the space in front of a text but not behind a sentinel ("prepend_scheme": "first"; the class
// T5Tokenizer of transformers 5 goes by its own rule there and puts one).
#include "altup/models/hugging_face_tokenizer.h"

#include <array>
#include <nlohmann/json.hpp>

#include "altup/models/hugging_face_json.h"
#include "altup/models/sentencepiece_file.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using hugging_face::JsonFile;

constexpr const char* kModelFile = "spiece.model";
constexpr const char* kSpace = "\u2581";  // as SentencePiece writes it
constexpr std::array<const char*, 3> kControl = {"<pad>", "</s>", "<unk>"};  // ids 0, 1, 2

std::string sentinel(int64_t number) {
  return str("<extra_id_", number, '>');
}

// How many pieces at the end are sentinels, the last of them <extra_id_0>.
int64_t count_own_sentinels(const SentencePieceFile& file) {
  int64_t count = 0;
  for (auto piece = file.pieces.rbegin(); piece != file.pieces.rend(); ++piece, ++count) {
    if (piece->text != sentinel(count) && piece->text != kSpace + sentinel(count)) break;
  }
  return count;
}

// The file without its last `count` pieces.
std::string without_last(const std::string& bytes, const SentencePieceFile& file, int64_t count) {
  std::string kept;
  size_t at = 0;
  for (auto piece = file.pieces.end() - count; piece != file.pieces.end(); ++piece) {
    kept.append(bytes, at, piece->begin - at);
    at = piece->end;
  }
  return kept.append(bytes, at);
}

void require_plain_unigram(const SentencePieceFile& file) {
  const auto refuse = [](const std::string& what) {
    throw UserError(kModelFile,
                    str(what,
                        ", which transformers' T5 tokenizers do not know; expected a unigram model "
                        "such as T5's or that altup tokenizer train makes"));
  };
  if (file.model_type != SentencePieceFile::kUnigram) refuse("is no unigram model");
  if (file.byte_fallback) refuse("falls back to bytes");
  if (file.whitespace_as_suffix) refuse("puts the space at the end of a word");
  if (!file.add_dummy_prefix) refuse("puts no space in front of a text");
  if (!file.remove_extra_whitespaces) refuse("keeps repeated spaces");
  if (!file.escape_whitespaces) refuse("keeps spaces as they are");
  for (const auto& piece : file.pieces) {
    if (piece.type == SentencePieceFile::kUserDefined) {
      refuse(str("has the user-defined piece \"", piece.text, '"'));
    }
  }
}

std::string base64(const std::string& bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) {
      text += i <= count ? kDigits[group >> (18 - 6 * i) & 63] : '=';
    }
  }
  return text;
}

Json normalizer(const SentencePieceFile& file) {
  Json steps = Json::array();
  if (!file.charsmap.empty()) {
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64(file.charsmap)}});
  }
  // A space at the beginning stays until Metaspace has seen it: behind a sentinel it begins a word.
  steps.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

Json metaspace(const char* prepend_scheme) {
  return {{"type", "Metaspace"},
          {"replacement", kSpace},
          {"prepend_scheme", prepend_scheme},
          {"split", true}};
}

// Text, then </s>; a pair of texts has one behind each.
Json post_processor() {
  const auto text = [](const char* id) { return Json{{"Sequence", {{"id", id}, {"type_id", 0}}}}; };
  const Json end = {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}};
  const Json end_token = {
      {"id", "</s>"}, {"ids", Json::array({1})}, {"tokens", Json::array({"</s>"})}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({text("A"), end})},
          {"pair", Json::array({text("A"), end, text("B"), end})},
          {"special_tokens", {{"</s>", end_token}}}};
}

Json tokenizer_json(const SentencePieceFile& file, int64_t sentinels) {
  Json vocabulary = Json::array();
  Json added = Json::array();
  const auto add = [&](const std::string& content, int64_t id) {
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  };
  for (size_t id = 0; id < kControl.size(); ++id) add(kControl[id], static_cast<int64_t>(id));
  for (const auto& piece : file.pieces) {
    vocabulary.push_back(Json::array({piece.text, static_cast<double>(piece.score)}));
  }
  for (size_t id = 0; id < kControl.size(); ++id) vocabulary.at(id)[0] = kControl[id];
  for (int64_t number = sentinels - 1; number >= 0; --number) {
    add(sentinel(number), static_cast<int64_t>(vocabulary.size()));
    vocabulary.push_back(Json::array({sentinel(number), 0.0}));
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", normalizer(file)},
          {"pre_tokenizer", metaspace("first")},
          {"post_processor", post_processor()},
          {"decoder", metaspace("always")},
          {"model",
           {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", vocabulary}, {"byte_fallback", false}}}};
}

Json tokenizer_config(int64_t sentinels) {
  Json names = Json::array();
  for (int64_t number = 0; number < sentinels; ++number) names.push_back(sentinel(number));
  return {{"tokenizer_class", "PreTrainedTokenizerFast"},
          {"pad_token", kControl[0]},
          {"eos_token", kControl[1]},
          {"unk_token", kControl[2]},
          {"extra_ids", sentinels},
          {"additional_special_tokens", names},
          {"clean_up_tokenization_spaces", false}};
}

}  // namespace

HuggingFaceVocabulary read_hugging_face_vocabulary(const fs::path& directory) {
  const auto path = directory / kModelFile;
  if (!fs::exists(path)) {
    const auto only = directory / "tokenizer.json";
    const bool has_json = fs::exists(only);
    throw UserError((has_json ? only : path).string(),
                    str(has_json ? "is not read" : "is missing", "; expected ",
                        has_json ? "spiece.model beside it, " : "",
                        "the SentencePiece file of the model, which lies with the original on "
                        "huggingface.co (google-t5/t5-small, google/flan-t5-small, "
                        "google/mt5-small, …)"));
  }
  HuggingFaceVocabulary vocabulary;
  vocabulary.spiece_model = read_file(path);
  const auto settings = directory / "tokenizer_config.json";
  if (fs::exists(settings)) {
    vocabulary.sentinels = JsonFile(settings).integer("extra_ids", vocabulary.sentinels);
  }
  const auto file = parse_sentencepiece(vocabulary.spiece_model, path.string());
  if (const auto own = count_own_sentinels(file); own > 0) {
    vocabulary.spiece_model = without_last(vocabulary.spiece_model, file, own);
    vocabulary.sentinels = own;
  }
  if (vocabulary.sentinels < 1) {
    throw UserError(
        settings.string(),
        str("\"extra_ids\" is ", vocabulary.sentinels,
            "; expected at least 1, since spiece.model has no <extra_id_0> at its end"));
  }
  return vocabulary;
}

int64_t write_hugging_face_vocabulary(const fs::path& directory,
                                      const HuggingFaceVocabulary& vocabulary) {
  const auto file = parse_sentencepiece(vocabulary.spiece_model, kModelFile);
  require_plain_unigram(file);
  write_file_atomic(directory / kModelFile, vocabulary.spiece_model);
  write_file_atomic(directory / "tokenizer.json",
                    tokenizer_json(file, vocabulary.sentinels).dump() + "\n");
  write_file_atomic(directory / "tokenizer_config.json",
                    tokenizer_config(vocabulary.sentinels).dump(2) + "\n");
  return static_cast<int64_t>(file.pieces.size()) + vocabulary.sentinels;
}

}  // namespace altup
