#include "trainers/demo.h"

#include <torch/script.h>

#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "altup/models/torchscript.h"
#include "altup/tasks/task.h"
#include "altup/util/logging.h"
#include "trainers/batch_tensors.h"
#include "trainers/checkpoint_io.h"
#include "trainers/demo_world.h"
#include "trainers/report.h"
#include "trainers/text_generation.h"
#include "trainers/training.h"

namespace altup {

namespace fs = std::filesystem;

namespace {

struct DemoVariant {
  std::string name;
  Variant variant;
};

const std::vector<DemoVariant> kVariants = {
    {"dense", Variant::kNone}, {"altup", Variant::kAltUp}, {"recycled", Variant::kRecycled}};

struct DemoTask {
  std::string name;    // in the tasks' table
  std::string folder;  // of its run
  std::string metric;  // shown
  int64_t steps;
  int64_t batch_size;
  int64_t input_length;
  int64_t target_length;
  OptimizerName optimizer;
  double learning_rate;
};

const std::vector<DemoTask> kTasks = {
    {"glue/sst2", "sentiment", "accuracy", 300, 16, 64, 8, OptimizerName::kAdafactor, 0.05},
    {"glue/rte", "entailment", "accuracy", 800, 32, 96, 12, OptimizerName::kAdamW, 0.0015},
    {"squad", "questions", "f1", 500, 16, 160, 16, OptimizerName::kAdafactor, 0.05}};

constexpr int64_t kPieces = 1500;
constexpr int64_t kSentinels = 100;
constexpr int64_t kPretrainingSteps = 800;

// Sizes that two cores train in half a minute. What decides how much is learnt in so short a time is
// the number of updates, so texts and batches are small, and the rate is high and falls to nothing.
// Entailment, one bit an example, drowns in the noise of a small batch and of a high rate.
void set_short_run(RunConfig& config, int64_t steps, int64_t batch_size, int64_t seed) {
  config.train.steps = steps;
  config.train.batch_size = batch_size;
  config.train.seed = seed;
  config.train.log_every = 100;
  config.train.keep_checkpoints = 1;
  config.optimizer.learning_rate = 0.05;  // relative: Adafactor scales it by the parameters
  config.optimizer.schedule = Schedule::kLinear;
  config.optimizer.warmup_steps = 20;
}

RunConfig pretraining_config(const fs::path& directory, Variant variant, int64_t seed) {
  RunConfig config;
  config.model.size = ModelSize::kCustom;
  config.model.d_model = 128;
  config.model.d_ff = 256;
  config.model.d_kv = 32;
  config.model.num_heads = 4;
  config.model.num_encoder_layers = 2;
  config.model.num_decoder_layers = 2;
  config.model.vocab_size = kPieces + kSentinels;
  config.model.altup.variant = variant;
  config.tokenizer.model = (directory / "tokenizer" / "spiece.model").string();
  config.tokenizer.sentinels = kSentinels;
  config.data.train = {(directory / "world" / "pretrain" / "part-*.txt").string()};
  config.data.validation = {(directory / "world" / "pretrain" / "validation.txt").string()};
  config.data.input_length = 64;
  config.data.target_length = 0;
  config.data.shuffle_window = 4096;
  set_short_run(config, kPretrainingSteps, /*batch_size=*/16, seed);
  config.train.evaluate_every = 200;
  config.train.save_every = 400;
  config.train.validation_examples = 256;
  return config;
}

RunConfig finetuning_config(const fs::path& directory, const DemoTask& task,
                            const fs::path& pretrained, int64_t seed) {
  RunConfig config;
  config.task.names = {task.name};
  config.task.data = (directory / "world" / (task.name == "squad" ? "squad" : "")).string();
  config.task.input_length = task.input_length;
  config.task.target_length = task.target_length;
  config.train.init_from = pretrained.string();
  set_short_run(config, task.steps, task.batch_size, seed);
  config.optimizer.name = task.optimizer;
  config.optimizer.learning_rate = task.learning_rate;
  config.train.evaluate_every = 0;
  config.train.save_every = 0;
  return config;
}

// The export as a stranger sees it: opened without this library's model, asked one question.
std::string ask_export(const fs::path& file, const Tokenizer& tokenizer,
                       const std::string& question) {
  torch::NoGradGuard no_grad;
  auto module = torch::jit::load(file.string());
  const auto ids = encode_with_eos(tokenizer, question, 160);
  const auto input =
      torch::tensor(std::vector<int64_t>(ids.begin(), ids.end()), torch::kInt64).unsqueeze(0);
  const auto output =
      module.get_method("generate")({input, torch::ones_like(input), int64_t{16}}).toTensor();
  std::vector<int32_t> answer;
  for (int64_t i = 0; i < output.size(1); ++i)
    answer.push_back(static_cast<int32_t>(output[0][i].item<int64_t>()));
  return tokenizer.decode(answer);
}

class Demo {
 public:
  Demo(fs::path directory, int64_t seed) : directory_(std::move(directory)), seed_(seed) {}

  DemoResult run() {
    make_world();
    for (const auto& variant : kVariants) {
      if (!pretrain_variant(variant)) return result_;
    }
    for (const auto& variant : kVariants) {
      for (const auto& task : kTasks) {
        if (!finetune_variant(variant, task)) return result_;
      }
    }
    for (const auto& variant : kVariants) export_variant(variant);
    write_outcome();
    return result_;
  }

 private:
  void make_world() {
    const fs::path world = directory_ / "world";
    if (!fs::exists(world)) {
      log_info("making a world and its tasks in ", world.string());
      const fs::path unfinished = directory_ / "world.unfinished";
      fs::remove_all(unfinished);
      fs::create_directories(unfinished);
      DemoWorldConfig config;
      config.seed = static_cast<uint64_t>(seed_);
      write_demo_world(config, unfinished);
      fs::rename(unfinished, world);
    }
    if (!fs::exists(directory_ / "tokenizer" / "spiece.model")) {
      log_info("training a tokenizer of ", kPieces, " pieces");
      // The entailment file brings the underscore of "not_entailment", which the stories do not have.
      train_tokenizer({.inputs = {world / "pretrain" / "part-00.txt", world / "RTE" / "train.tsv"},
                       .vocab_size = kPieces},
                      directory_ / "tokenizer");
    }
  }

  bool pretrain_variant(const DemoVariant& variant) {
    log_info("pre-training ", variant.name);
    const auto config = pretraining_config(directory_, variant.variant, seed_);
    const auto trained = pretrain(config, directory_ / variant.name, Resume::kAuto);
    result_.signal = trained.signal;
    if (trained.signal != 0) return false;
    auto& figures = figures_[variant.name];
    const auto last = last_validation(directory_ / variant.name);
    figures["loss"] = last.values.at("loss");
    figures["accuracy"] = last.values.at("accuracy");
    figures["tokens_per_second"] = last.values.at("tokens") / last.values.at("seconds");
    return true;
  }

  bool finetune_variant(const DemoVariant& variant, const DemoTask& task) {
    const fs::path run = directory_ / (variant.name + "-" + task.folder);
    log_info("fine-tuning ", variant.name, " on ", task.folder);
    const auto config = finetuning_config(directory_, task, directory_ / variant.name, seed_);
    const auto trained = finetune(config, run, Resume::kAuto);
    result_.signal = trained.signal;
    if (trained.signal != 0) return false;
    figures_[variant.name][task.folder] = last_validation(run).values.at(task.metric);
    return true;
  }

  void export_variant(const DemoVariant& variant) {
    const fs::path file = directory_ / "exported" / (variant.name + ".pt");
    fs::create_directories(file.parent_path());
    auto loaded = load_model(directory_ / (variant.name + "-questions"), torch::kCPU);
    export_torchscript(loaded.model, file, loaded.tokenizer->vocab_size());
    const auto examples = find_task("squad").load(directory_ / "world" / "squad", "dev");
    const auto& example = examples.front();
    const auto answer = ask_export(file, *loaded.tokenizer, example.input);
    log_info(file.string(), " answers \"", answer,
             "\" to: ", example.input.substr(0, example.input.find(" context:")),
             " (expected: ", example.references.front(), ")");
    figures_[variant.name]["export"] = file.string();
  }

  // From the file, so that a run that was finished earlier counts too.
  static MetricRecord last_validation(const fs::path& run) {
    for (auto records = read_metrics(run / "metrics.jsonl"); !records.empty(); records.pop_back()) {
      if (records.back().split != "train") return records.back();
    }
    throw std::runtime_error(run.string() + ": metrics.jsonl holds no evaluation");
  }

  void write_outcome() {
    std::vector<fs::path> runs;
    for (const auto& variant : kVariants) runs.push_back(directory_ / variant.name);
    for (const auto& variant : kVariants) {
      for (const auto& task : kTasks)
        runs.push_back(directory_ / (variant.name + "-" + task.folder));
    }
    const fs::path report = directory_ / "report.html";
    write_report(runs, report);

    std::ostringstream table;
    const std::vector<std::string> columns = {"loss",      "accuracy",   "tokens_per_second",
                                              "sentiment", "entailment", "questions"};
    const std::vector<std::string> titles = {
        "loss",          "span acc. %", "tokens/s", "sentiment acc. %", "entailment acc. %",
        "questions F1 %"};
    table << "\n" << std::left << std::setw(10) << "model" << std::right;
    for (const auto& title : titles) table << "  " << title;
    table << "\n";
    for (const auto& variant : kVariants) {
      table << std::left << std::setw(10) << variant.name << std::right;
      for (size_t i = 0; i < columns.size(); ++i) {
        const double value = figures_[variant.name][columns[i]];
        const int digits = columns[i] == "loss" ? 4 : columns[i] == "tokens_per_second" ? 0 : 1;
        table << "  " << std::setw(static_cast<int>(titles[i].size())) << fixed(value, digits);
      }
      table << "\n";
    }
    table << "\nloss: nats per target token on held-out text, after the same tokens for each "
             "model\nreport: "
          << fs::absolute(report).lexically_normal().string() << "\n";
    result_.table = table.str();
    result_.json = figures_.dump();
  }

  fs::path directory_;
  int64_t seed_;
  nlohmann::json figures_ = nlohmann::json::object();
  DemoResult result_{.table = "", .json = "{}", .signal = 0};
};

}  // namespace

DemoResult run_demo(const fs::path& directory, int64_t seed) {
  fs::create_directories(directory);
  return Demo(directory, seed).run();
}

}  // namespace altup
