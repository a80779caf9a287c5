// The made-up world that `altup demo` trains on, so that the whole program can be shown without a
// download.
//
// A seed draws people, places and things with typed facts (who lives where, works as what, owns
// which thing of which colour). A small grammar tells these facts in many ways as a pre-training
// corpus, and turns the same facts, words and rules into three tasks in the layouts of the official
// files, so that what pre-training teaches helps the tasks: a model that has read that Tolmere lies
// in the north can judge that whoever lives in Tolmere lives in the north.
#pragma once

#include <cstdint>
#include <filesystem>

namespace altup {

struct DemoWorldConfig {
  uint64_t seed = 1;
  int64_t pretraining_bytes = 6'000'000;  ///< reached, and passed by less than one paragraph
  int64_t validation_bytes = 200'000;     ///< likewise
  int64_t sentiment_train = 4000, sentiment_dev = 400;    ///< sentences
  int64_t entailment_train = 4000, entailment_dev = 400;  ///< pairs
  int64_t qa_train = 4000, qa_dev = 400;  ///< questions, one to three for a paragraph
};

/// Writes below `directory`, which is made where it is missing:
///
///     pretrain/part-00.txt …        paragraphs with a blank line between them, about 1 MB a file
///     pretrain/validation.txt       the same, other paragraphs
///     SST-2/{train,dev}.tsv         sentence, label (1: positive)
///     RTE/{train,dev}.tsv           index, sentence1, sentence2, label (entailment |
///     not_entailment) squad/{train,dev}-v1.1.json   SQuAD v1.1
///
/// The bytes are a pure function of `config`. All text is ASCII, so that SQuAD's offsets, in code
/// points, are byte offsets too. No paragraph, task sentence, pair or SQuAD context occurs twice,
/// in one file or in two; in particular nothing that a task asks is in the corpus, word for word.
/// Throws std::invalid_argument where more than 40,000 sentiment sentences are asked for.
void write_demo_world(const DemoWorldConfig& config, const std::filesystem::path& directory);

}  // namespace altup
