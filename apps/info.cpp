// altup info: parameters, FLOPs, memory and time of a model, from a checkpoint or a config, by
// arithmetic: no weights are loaded or made. With --memory it says how much fits there, with
// --gflops or --measure how long a step takes.
#include <ATen/Parallel.h>

#include <charconv>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/checkpoint/directory.h"
#include "altup/models/model_size.h"
#include "altup/util/error.h"
#include "altup/util/text.h"
#include "apps/command.h"
#include "trainers/memory_estimate.h"
#include "trainers/runtime.h"
#include "trainers/step_time.h"
#include "trainers/training.h"

namespace altup {
namespace {

constexpr double kMib = 1024.0 * 1024.0;

struct Options {
  RunOptions run;
  std::string checkpoint;
  std::string memory;      ///< as "80GiB"; "": not given
  double gflops = 0.0;     ///< 10^9 operations a second
  double bandwidth = 0.0;  ///< 10^9 bytes a second
  bool measure = false;
};

/// Bytes of "80GiB", "64 GB" or "1000000"; 0 where it is no such size.
double bytes_of(const std::string& text) {
  constexpr double kKilo = 1000.0, kKibi = 1024.0;
  double number = 0.0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || !(number > 0)) return 0.0;
  const std::string unit(trim({stopped, end}));
  if (unit.empty() || unit == "B") return number;
  const auto power = std::string_view("KMGT").find(unit.front());
  const std::string rest = unit.substr(1);
  if (power == std::string_view::npos || (rest != "B" && rest != "iB")) return 0.0;
  return number * std::pow(rest == "B" ? kKilo : kKibi, static_cast<double>(power + 1));
}

CLI::Validator size_in_bytes() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        if (bytes_of(text) > 0) return "";
        return str("value ", text, "; expected a size such as 80GiB");
      },
      "SIZE");
}

nlohmann::json in_mib(const TrainingMemory& memory) {
  nlohmann::json parts;
  for (const auto& part : memory.activations_by_part) parts[part.name] = part.bytes / kMib;
  return {{"weights", memory.weights / kMib},
          {"optimizer", memory.optimizer / kMib},
          {"gradients", memory.gradients / kMib},
          {"weights_and_gradients", (memory.weights + memory.gradients) / kMib},
          {"activations", memory.activations / kMib},
          {"activations_by_part", parts},
          {"temporaries", memory.temporaries / kMib},
          {"program", kProgramBytes / kMib},
          {"peak", memory.peak / kMib},
          {"peak_during", memory.peak_during}};
}

nlohmann::json in_mib(const InferenceMemory& memory) {
  return {{"weights", memory.weights / kMib},
          {"lowered_weights", memory.lowered_weights / kMib},
          {"caches", memory.caches / kMib},
          {"working", memory.working / kMib},
          {"peak", memory.peak / kMib}};
}

nlohmann::json work_figures(const StepWork& work) {
  nlohmann::json bytes = {{"total", work.bytes()}};
  for (const auto& part : work.traffic) bytes[part.part] = part.bytes;
  return {{"flops",
           {{"total", work.flops()},
            {"projections", work.linear_flops("projections")},
            {"feed_forward", work.linear_flops("feed_forward")},
            {"head", work.linear_flops("head")},
            {"attention", work.attention_flops()}}},
          {"bytes", bytes},
          {"exponentials", work.exponentials}};
}

nlohmann::json time_figures(const StepTime& time, const MachineRates& rates) {
  return {{"seconds", time.total()},
          {"linears", time.linears},
          {"attention", time.attention},
          {"traffic", time.traffic},
          {"exponentials", time.exponentials},
          {"rates",
           {{"linear_gflops", 1e-9 * rates.linear_flops},
            {"attention_gflops", 1e-9 * rates.attention_flops},
            {"gigabytes", 1e-9 * rates.bytes},
            {"exponentials", rates.exponentials}}}};
}

/// With and without activation checkpointing.
nlohmann::json fit_figures(const RunConfig& config, StepShape shape, double bytes) {
  nlohmann::json figures = {{"memory_mib", bytes / kMib}};
  for (const bool checkpointing : {false, true}) {
    shape.checkpointing = checkpointing;
    figures[checkpointing ? "micro_batch_with_checkpointing" : "micro_batch"] =
        largest_micro_batch(config.model, config.optimizer, shape, config.train.batch_size, bytes);
  }
  return figures;
}

std::string mib(const nlohmann::json& value) {
  return thousands(static_cast<int64_t>(value.get<double>() + 0.5));
}

void print_row(std::ostream& out, const std::string& name, const std::string& value,
               const std::string& note = "") {
  out << "  " << std::left << std::setw(28) << name << std::right << std::setw(16) << value;
  if (!note.empty()) out << "  " << note;
  out << "\n";
}

std::string parts_note(const nlohmann::json& parts) {
  std::vector<std::string> list;
  for (const auto& [name, value] : parts.items()) list.push_back(str(name, " ", mib(value)));
  return join(list, ", ");
}

void print_memory(std::ostream& out, const nlohmann::json& figures) {
  const auto& memory = figures["memory_mib"];
  out << "memory of a training step, MiB\n";
  print_row(out, "weights", mib(memory["weights"]));
  print_row(out, "optimiser", mib(memory["optimizer"]));
  print_row(out, "gradients", mib(memory["gradients"]));
  print_row(out, "activations", mib(memory["activations"]),
            parts_note(memory["activations_by_part"]));
  print_row(out, "temporaries at the peak", mib(memory["temporaries"]));
  print_row(out, "program", mib(memory["program"]));
  print_row(out, "peak", mib(memory["peak"]),
            str("during ", memory["peak_during"].get<std::string>(), "; not all is there at once"));
  const bool checkpointing = figures["step"]["activation_checkpointing"];
  print_row(out, checkpointing ? "without checkpointing" : "with checkpointing",
            mib(figures["memory_mib"]["peak_otherwise"]));
  print_row(out, "decoding the batch", mib(figures["inference_mib"]["peak"]));
}

void print_time(std::ostream& out, const nlohmann::json& figures) {
  const auto& step = figures["step"];
  const auto giga = [](const nlohmann::json& value) {
    return thousands(static_cast<int64_t>(1e-9 * value.get<double>() + 0.5));
  };
  out << "work of a step\n";
  const auto& flops = step["flops"];
  print_row(out, "matrix products, GFLOP", giga(flops["total"]),
            str("projections ", giga(flops["projections"]), ", feed_forward ",
                giga(flops["feed_forward"]), ", head ", giga(flops["head"]), ", attention ",
                giga(flops["attention"])));
  std::vector<std::string> bytes;
  for (const auto& [name, value] : step["bytes"].items()) {
    if (name != "total") bytes.push_back(str(name, " ", giga(value)));
  }
  print_row(out, "other reads and writes, GB", giga(step["bytes"]["total"]), join(bytes, ", "));
  if (!step.contains("time")) return;
  const auto& time = step["time"];
  const auto part = [&](const char* name) { return fixed(time[name].get<double>(), 3); };
  print_row(out, "seconds", part("seconds"),
            str("linear layers ", part("linears"), ", attention ", part("attention"),
                ", reads and writes ", part("traffic"), ", exponentials ", part("exponentials")));
  print_row(out, "products, GFLOP/s", fixed(time["rates"]["linear_gflops"].get<double>(), 1),
            str("attention's ", fixed(time["rates"]["attention_gflops"].get<double>(), 1)));
}

void print_table(std::ostream& out, const RunConfig& config, const nlohmann::json& figures) {
  const auto& step = figures["step"];
  const auto& parameters = figures["parameters"];
  out << enum_name(config.model.size) << ", " << figures["variant"].get<std::string>()
      << ", K = " << figures["blocks"] << "; a step of " << step["batch"] << " x ("
      << step["input_length"] << " + " << step["target_length"] << ") tokens, "
      << step["micro_batch"] << " examples at once, " << step["precision"].get<std::string>()
      << ", " << enum_name(config.optimizer.name)
      << (step["activation_checkpointing"] ? ", activation checkpointing" : "") << "\n";
  out << "size\n";
  print_row(out, "parameters", thousands(parameters["total"]),
            str("embedding and head ", thousands(parameters["embedding"]), ", AltUp ",
                thousands(parameters["altup"])));
  print_row(out, "MFLOP a token",
            thousands(static_cast<int64_t>(1e-6 * figures["flops_per_token"].get<double>() + 0.5)),
            "forward and backward");
  print_memory(out, figures);
  print_time(out, figures);
  if (!figures.contains("fit")) return;
  const auto& fit = figures["fit"];
  out << "in " << mib(fit["memory_mib"]) << " MiB\n";
  for (const auto& [key, name] : {std::pair("micro_batch", "without checkpointing"),
                                  std::pair("micro_batch_with_checkpointing", "with it")}) {
    const int64_t micro = fit[key];
    print_row(out, name, micro > 0 ? "fits" : "does not fit",
              micro > 0 ? str("with up to train.micro_batch_size = ", micro)
                        : "not even one example at a time");
  }
}

/// What is known of the rates of the hardware that is asked for; all 0 where nothing is.
MachineRates rates_of(const Options& options, const StepWork& work) {
  if (options.measure) return measure_rates(work);
  return {.linear_flops = 1e9 * options.gflops,
          .attention_flops = 1e9 * options.gflops,
          .bytes = 1e9 * options.bandwidth};
}

nlohmann::json step_figures(const Options& options, const RunConfig& config,
                            const StepShape& shape) {
  const auto work = step_work(config.model, config.optimizer, shape);
  const auto rates = rates_of(options, work);
  auto figures = work_figures(work);
  figures["batch"] = config.train.batch_size;
  figures["micro_batch"] = shape.batch;
  figures["input_length"] = shape.input_length;
  figures["target_length"] = shape.target_length;
  figures["precision"] = enum_name(shape.bf16 ? Precision::kBf16 : Precision::kFp32);
  figures["activation_checkpointing"] = shape.checkpointing;
  if (rates.linear_flops > 0) figures["time"] = time_figures(predict_step(work, rates), rates);
  return figures;
}

nlohmann::json memory_figures(const RunConfig& config, StepShape shape) {
  const auto estimate = [&] {
    return in_mib(estimate_training_memory(config.model, config.optimizer, shape));
  };
  auto figures = estimate();
  shape.checkpointing = !shape.checkpointing;
  figures["peak_otherwise"] = estimate()["peak"];
  return figures;
}

nlohmann::json figures_of(const Options& options, const RunConfig& config) {
  const auto precision = resolve_precision(config.train.precision, default_device());
  const auto shape = step_shape(config, precision, at::get_num_threads());
  const auto parameters = count_parameters(config.model);
  const auto flops = count_flops(config.model, shape.input_length, shape.target_length);
  nlohmann::json figures = {
      {"variant", enum_name(config.model.altup.variant)},
      {"blocks", config.model.num_blocks()},
      {"parameters",
       {{"total", parameters.total},
        {"embedding", parameters.embedding},
        {"altup", parameters.altup},
        {"experts", parameters.experts},
        {"active", parameters.active}}},
      {"flops_per_token", flops.forward_backward / static_cast<double>(flops.tokens)},
      {"flops_per_example", flops.forward_backward},
      {"tokens_per_example", flops.tokens},
      {"memory_mib", memory_figures(config, shape)},
      {"inference_mib", in_mib(estimate_inference_memory(config.model, shape))},
      {"step", step_figures(options, config, shape)}};
  if (!options.memory.empty()) {
    figures["fit"] = fit_figures(config, shape, bytes_of(options.memory));
  }
  return figures;
}

int info(const Options& options, const Command& command) {
  if (options.checkpoint.empty() == options.run.files.empty()) {
    throw UserError("altup info expects either --checkpoint or --config");
  }
  if (options.measure && options.gflops > 0) {
    throw UserError("altup info takes --measure or --gflops, not both");
  }
  if (options.bandwidth > 0 && options.gflops == 0) {
    throw UserError("altup info takes --bandwidth with --gflops only");
  }
  RunOptions run = options.run;
  if (!options.checkpoint.empty())
    run.files = {resolve_checkpoint(options.checkpoint) / "config.toml"};
  auto config = read_run(run, command);
  if (options.checkpoint.empty()) adopt_start(config);
  const auto figures = figures_of(options, config);
  if (command.json != "-") print_table(std::cout, config, figures);
  write_json(command, figures);
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Command& command) {
  auto options = std::make_shared<Options>();
  auto* sub = add_command(app, command, "info",
                          "Parameters, FLOPs, memory and time of a model, before it is trained");
  add_run_options(*sub, options->run, /*required=*/false);
  sub->add_option("--checkpoint", options->checkpoint, "Checkpoint or run directory")
      ->type_name("DIR");
  sub->add_option("--memory", options->memory, "Say what fits into so much, as 80GiB")
      ->check(size_in_bytes())
      ->type_name("SIZE");
  sub->add_option("--gflops", options->gflops,
                  "Time of a step at so many 10^9 operations of products a second")
      ->check(above_zero());
  sub->add_option("--bandwidth", options->bandwidth,
                  "With --gflops: 10^9 bytes a second, for what is no product")
      ->check(above_zero());
  sub->add_flag("--measure", options->measure,
                "Time of a step by this machine's rates, which takes some seconds");
  sub->callback([options, &command] {
    command.action = [options, &command] { return info(*options, command); };
  });
}

}  // namespace altup
