// The tokenizer of a Hugging Face T5, both ways. What we need is spiece.model and the number of
// sentinels; transformers also reads tokenizer.json, which says the same to its own library.
//
// mT5's spiece.model ends in sentinels of its own: its 250,100 pieces are 250,000 and
// "▁<extra_id_99>" … "▁<extra_id_0>", and its tokenizer adds none ("extra_ids": 0). Here the
// sentinels come after the pieces, so those entries are cut off on the way in, and every id stays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace altup {

struct HuggingFaceVocabulary {
  std::string spiece_model;  ///< bytes of a SentencePiece file without sentinels
  int64_t sentinels = 100;
};

/// Reads `directory`/spiece.model, and "extra_ids" of tokenizer_config.json where it is there.
/// UserError where spiece.model is missing (a tokenizer.json alone does not do) or broken, and where
/// there is no sentinel.
HuggingFaceVocabulary read_hugging_face_vocabulary(const std::filesystem::path& directory);

/// Writes spiece.model, tokenizer.json and tokenizer_config.json. UserError where the vocabulary is
/// of a kind that transformers' T5 tokenizers do not know: BPE, byte fallback, user-defined pieces,
/// or white space kept as it is. Returns the number of ids, sentinels included.
int64_t write_hugging_face_vocabulary(const std::filesystem::path& directory,
                                      const HuggingFaceVocabulary& vocabulary);

}  // namespace altup
