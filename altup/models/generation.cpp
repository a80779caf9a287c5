#include "altup/models/generation.h"

#include "altup/models/evaluation_mode.h"

namespace altup {
namespace {

constexpr int64_t kPad = 0;
constexpr int64_t kEos = 1;

}  // namespace

Generation generate_greedy(T5& model, const torch::Tensor& input_ids,
                           const torch::Tensor& input_mask, const GenerationConfig& config) {
  TORCH_CHECK(config.max_new_tokens >= 1, "max_new_tokens is ", config.max_new_tokens,
              "; expected at least 1");
  torch::NoGradGuard no_grad;
  EvaluationMode evaluation(*model);

  const int64_t batch = input_ids.size(0);
  const int64_t vocabulary = model->config().vocab_size;
  const int64_t valid =
      config.valid_vocab > 0 ? std::min(config.valid_vocab, vocabulary) : vocabulary;
  const auto memory = model->encode(input_ids, input_mask);
  KvCache cache;
  auto token = torch::full({batch, 1}, kPad, input_ids.options());  // [B, 1]
  auto finished = torch::zeros({batch, 1}, input_ids.options().dtype(torch::kBool));
  std::vector<torch::Tensor> produced;  // [B, 1] each, pad after eos
  for (int64_t i = 0; i < config.max_new_tokens; ++i) {
    const auto decoded = model->decode(token, memory, input_mask, &cache);      // [B, 1, W]
    const auto scores = model->logits(decoded).squeeze(1).narrow(1, 0, valid);  // [B, valid]
    token = scores.argmax(-1, /*keepdim=*/true).masked_fill(finished, kPad);
    produced.push_back(token);
    if (!config.stop_at_eos) continue;
    finished = finished.logical_or(token == kEos);
    if (finished.all().item<bool>()) break;
  }

  const auto ids = torch::cat(produced, 1).cpu();  // [B, steps]
  const auto done = finished.squeeze(1).cpu();
  const auto rows = ids.accessor<int64_t, 2>();
  Generation result;
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<int64_t> row;
    for (int64_t i = 0; i < ids.size(1); ++i) {
      row.push_back(rows[b][i]);
      if (rows[b][i] == kEos) break;
    }
    result.ids.push_back(std::move(row));
    if (!done[b].item<bool>()) ++result.truncated;
  }
  return result;
}

}  // namespace altup
