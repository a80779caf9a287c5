// Export as TorchScript: one file that torch.jit.load opens, in Python or in C++, with no library
// of ours or with altup_ops. The only part of the project that knows TorchScript. The file's methods
// and the names of its parameters: docs/export.md.
#pragma once

#include <cstdint>
#include <filesystem>

#include "altup/models/t5.h"

namespace altup {

/// What a file is made of: operators of ATen, which every PyTorch has, or where there is one the
/// operators of altup_ops, which has to be loaded before the file.
enum class ScriptOperators { kAten, kFused };

/// Writes `model` to `path`, in fp32 and on the CPU, with the methods
///   forward(input_ids, attention_mask, decoder_input_ids) -> logits [B, T, vocab_size]
///   encode(input_ids, attention_mask) -> memory [B, S, memory width]
///   generate(input_ids, attention_mask, max_new_tokens) -> ids [B, at most max_new_tokens]
/// for ids [B, S] and [B, T] int64 and a mask [B, S], int64 or bool, 0 where a token is padding.
/// Ids from valid_vocab on are never generated; 0 allows all of vocab_size.
///
/// The written file is loaded again and compared with the model before it takes its name: logits
/// of padded batches, and generated ids. Throws std::runtime_error with the difference where they
/// disagree, and UserError where `path` cannot be written; `path` is then as it was.
void export_torchscript(T5& model, const std::filesystem::path& path, int64_t valid_vocab,
                        ScriptOperators operators = ScriptOperators::kAten);

}  // namespace altup
