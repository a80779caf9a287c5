#include "trainers/experiment_plan.h"

#include <nlohmann/json.hpp>

#include "altup/models/model_size.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kPlanFile = "experiment.json";
constexpr const char* kTimesFile = "step_times.json";

/// What `read` makes of the JSON in `path`; UserError where it is not as expected.
template <class Read>
auto parse(const fs::path& path, Read&& read) {
  const Json json = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw UserError(path.string(), "broken JSON; expected an object");
  try {
    return read(json);
  } catch (const Json::exception& error) {
    throw UserError(path.string(), str("not as `altup experiment` writes it: ", error.what()));
  }
}

}  // namespace

ExperimentPlan make_plan(const Experiment& experiment, const std::string& command) {
  ExperimentPlan plan{experiment.name, command, experiment.baseline, experiment.seeds, {}};
  for (const auto& variant : experiment.variants) {
    const auto config = experiment_config(variant, experiment.seeds.front());
    const auto parameters = count_parameters(config.model);
    const auto lengths = config.data.lengths();
    const auto flops = count_flops(config.model, lengths.input, lengths.target);
    plan.variants.push_back(
        {.name = variant.name,
         .label = variant.label,
         .group = variant.group,
         .baseline = variant.baseline,
         .steps = config.train.steps,
         .parameters = parameters.total,
         .embedding_parameters = parameters.embedding,
         .flops_per_token = flops.forward_backward / static_cast<double>(flops.tokens)});
  }
  return plan;
}

void write_plan(const ExperimentPlan& plan, const fs::path& directory) {
  Json variants = Json::array();
  for (const auto& variant : plan.variants) {
    variants.push_back({{"name", variant.name},
                        {"label", variant.label},
                        {"group", variant.group},
                        {"baseline", variant.baseline},
                        {"steps", variant.steps},
                        {"parameters", variant.parameters},
                        {"embedding_parameters", variant.embedding_parameters},
                        {"flops_per_token", variant.flops_per_token}});
  }
  const Json json = {{"name", plan.name},
                     {"command", plan.command},
                     {"baseline", plan.baseline},
                     {"seeds", plan.seeds},
                     {"variants", variants}};
  write_file_atomic(directory / kPlanFile, json.dump(2) + "\n");
}

bool holds_experiment(const fs::path& directory) {
  return fs::is_regular_file(directory / kPlanFile);
}

ExperimentPlan read_plan(const fs::path& directory) {
  const auto path = directory / kPlanFile;
  auto plan = parse(path, [](const Json& json) {
    ExperimentPlan found{.name = json.at("name"),
                         .command = json.at("command"),
                         .baseline = json.at("baseline"),
                         .seeds = json.at("seeds"),
                         .variants = {}};
    for (const auto& variant : json.at("variants")) {
      found.variants.push_back({.name = variant.at("name"),
                                .label = variant.at("label"),
                                .group = variant.at("group"),
                                .baseline = variant.at("baseline"),
                                .steps = variant.at("steps"),
                                .parameters = variant.at("parameters"),
                                .embedding_parameters = variant.at("embedding_parameters"),
                                .flops_per_token = variant.at("flops_per_token")});
    }
    return found;
  });
  const auto known = [&](const std::string& name) {
    for (const auto& variant : plan.variants) {
      if (variant.name == name) return true;
    }
    return false;
  };
  for (const auto& variant : plan.variants) {
    if (!known(variant.baseline)) {
      throw UserError(path.string(), str("compares ", variant.name, " with \"", variant.baseline,
                                         "\"; expected one of its variants"));
    }
  }
  if (!known(plan.baseline)) {
    throw UserError(path.string(),
                    str("has the baseline \"", plan.baseline, "\"; expected one of its variants"));
  }
  return plan;
}

void write_step_times(const StepTimes& times, const fs::path& directory) {
  Json variants = Json::object();
  for (const auto& [name, time] : times.variants) {
    variants[name] = {{"seconds_per_step", time.seconds},
                      {"rounds", time.rounds},
                      {"tokens", time.tokens},
                      {"peak_memory_mib", time.peak_memory_mib}};
  }
  const Json json = {{"steps_per_round", times.steps},
                     {"threads", times.threads},
                     {"precision", times.precision},
                     {"variants", variants}};
  write_file_atomic(directory / kTimesFile, json.dump(2) + "\n");
}

StepTimes read_step_times(const fs::path& directory) {
  const auto path = directory / kTimesFile;
  if (!fs::is_regular_file(path)) return {};
  return parse(path, [](const Json& json) {
    StepTimes times{.steps = json.at("steps_per_round"),
                    .threads = json.at("threads"),
                    .precision = json.at("precision"),
                    .variants = {}};
    for (const auto& [name, time] : json.at("variants").items()) {
      times.variants[name] = {.seconds = time.at("seconds_per_step"),
                              .rounds = time.at("rounds"),
                              .tokens = time.at("tokens"),
                              .peak_memory_mib = time.at("peak_memory_mib")};
    }
    return times;
  });
}

}  // namespace altup
