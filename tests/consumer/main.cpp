// A Recycled-AltUp T5 from the installed library, forward and backward; and something of the rooms
// that need the other dependencies: a task (JSON) and a tokenizer (SentencePiece), which is not
// there. Prints a line for each.
#include <torch/torch.h>

#include <iostream>

#include "altup/data/tokenizer.h"
#include "altup/models/t5.h"
#include "altup/tasks/task.h"
#include "altup/util/error.h"

int main() {
  torch::manual_seed(0);
  altup::T5Config config;
  config.apply_size(altup::ModelSize::kTiny);
  config.vocab_size = 128;
  config.altup.variant = altup::Variant::kRecycled;
  altup::T5 model(config);
  const auto inputs = torch::randint(3, config.vocab_size, {2, 12}, torch::kLong);
  const auto targets = torch::randint(3, config.vocab_size, {2, 6}, torch::kLong);
  const auto logits = model->forward(inputs, torch::ones_like(inputs).to(torch::kBool),
                                     altup::shift_right(targets));  // [2, 6, 128]
  const auto loss = torch::nn::functional::cross_entropy(logits.flatten(0, 1), targets.flatten());
  loss.backward();
  std::cout << "loss " << loss.item<double>() << "\n";
  std::cout << "metric " << altup::find_task("glue/cola").best_metric << "\n";
  try {
    altup::Tokenizer("missing.model", /*sentinels=*/100);
  } catch (const altup::UserError& error) {
    std::cout << "error " << error.what() << "\n";
  }
}
