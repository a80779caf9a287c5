// From files to batches. Pre-training:
//
//   files -> documents -> ids + eos -> one stream -> chunks -> shuffled windows -> corrupt -> batch
//
// Order and corruption depend on (seed, epoch, chunk) alone. Files are permuted anew each epoch;
// chunks are shuffled within windows of `shuffle_window` chunks, so the whole corpus never has to
// be in memory, and the position is small: epoch, file, document and token where the window begins,
// and the place in the window. An epoch's last tokens, fewer than a chunk, are left out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "altup/data/batch.h"
#include "altup/data/reader.h"
#include "altup/data/span_corruption.h"
#include "altup/data/tokenizer.h"
#include "altup/util/fields.h"

namespace altup {

/// [data]
struct DataConfig {
  std::vector<std::string> train;       ///< paths or patterns
  std::vector<std::string> validation;  ///< paths or patterns
  int64_t input_length = 512;           ///< tokens after corruption; the chunk length follows
  int64_t target_length = 114;          ///< 0: follows; otherwise must be at least what follows
  double noise_density = 0.15;
  double mean_span_length = 3.0;
  bool random_start = false;
  TextLayout text_layout = TextLayout::kParagraph;
  int64_t shuffle_window = 8192;  ///< chunks
  int64_t prefetch = 4;           ///< batches made ahead by a thread; 0: none

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"train", "files or patterns to train on"}, self.train);
    visit(Field{"validation", "files or patterns to validate on"}, self.validation);
    visit(Field{"input_length", "tokens after corruption, eos included", 4, 1 << 20},
          self.input_length);
    visit(Field{"target_length", "tokens of the target, eos included; 0: follows", 0, 1 << 20},
          self.target_length);
    visit(Field{"noise_density", "share of the tokens that is masked", 0.001, 0.999},
          self.noise_density);
    visit(Field{"mean_span_length", "mean tokens of a masked span", 1, 1000},
          self.mean_span_length);
    visit(Field{"random_start", "rotate the mask, so that a chunk need not end in noise"},
          self.random_start);
    visit(Field{"text_layout", "what a document is in a text file"}, self.text_layout);
    visit(Field{"shuffle_window", "chunks shuffled together", 1, 1 << 24}, self.shuffle_window);
    visit(Field{"prefetch", "batches made ahead by a thread", 0, 1024}, self.prefetch);
  }
  /// Throws UserError where the lengths contradict each other; the message starts with the key,
  /// "data.…".
  void validate() const;
  SpanCorruption corruption() const { return {noise_density, mean_span_length, random_start}; }
  /// Tokens of an example: those of its chunk, its input and its target.
  ChunkLengths lengths() const { return chunk_for_input(input_length, corruption()); }
};

/// Endless span-corruption batches over the files that `patterns` name. Throws UserError where they
/// hold less than one chunk. A saved state fits the same files, by name and size, tokenizer, seed
/// and lengths; the batch size may differ.
std::unique_ptr<BatchSource> make_pretraining_source(const DataConfig& config,
                                                     std::shared_ptr<const Tokenizer> tokenizer,
                                                     const std::vector<std::string>& patterns,
                                                     int64_t batch_size, uint64_t seed);

/// One pass over `patterns`, not shuffled, corrupted by the chunk's number alone: the same batches
/// each time, whatever the run's seed.
/// At most `max_examples` (0: all). A last, shorter chunk is kept when it has at least a quarter of
/// the length.
std::vector<Batch> validation_batches(const DataConfig& config, const Tokenizer& tokenizer,
                                      const std::vector<std::string>& patterns, int64_t batch_size,
                                      int64_t max_examples);

/// One task of a mixture.
struct MixturePart {
  std::string name;
  std::vector<Example> examples;
  double weight = 1.0;  ///< > 0; its share of the batches' examples is weight / sum of the weights
};

/// Endless batches of a mixture: each example comes from a part drawn with the part's share, and is
/// the next in that part's order, which is drawn anew each of its epochs. The examples of
/// `bucket_batches` batches are shared out among these by length, so that examples of like length
/// come together, and the order of these batches is drawn; 1: batches as they are drawn. A saved
/// position fits the same examples, weights and seed; where it is within such a group of batches,
/// also the same batch size and number of batches. UserError for a part without examples.
std::unique_ptr<BatchSource> make_mixture_source(std::vector<MixturePart> parts, int64_t batch_size,
                                                 uint64_t seed, int64_t bucket_batches = 1);

/// A mixture of one part: every example once an epoch, in an order drawn by (seed, epoch).
std::unique_ptr<BatchSource> make_example_source(std::vector<Example> examples, int64_t batch_size,
                                                 uint64_t seed);

/// Runs `source` in a thread, up to `depth` batches ahead; state() is that of the batch handed out
/// last. An exception of the source is thrown by next().
std::unique_ptr<BatchSource> prefetch(std::unique_ptr<BatchSource> source, int64_t depth);

}  // namespace altup
