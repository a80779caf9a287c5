// Reading: merge the files (config_tree), apply the size, then give every field its entry; what no
// field asked for is an unknown key. Everything goes by RunConfig::sections and each section's
// fields(), so that a new key is declared once, in its Config, and is then read, checked, written
// and documented.
#include "trainers/run_config.h"

#include <algorithm>
#include <cctype>

#include "altup/tasks/task.h"
#include "altup/tasks/task_files.h"
#include "altup/util/error.h"
#include "altup/util/field_value.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "trainers/config_tree.h"

namespace altup {
namespace {

namespace fs = std::filesystem;

// --- unknown keys
// -----------------------------------------------------------------------------------------------

std::vector<std::string> section_names() {
  std::vector<std::string> names;
  RunConfig config;
  RunConfig::sections(config, [&](std::string_view name, auto&) { names.emplace_back(name); });
  return names;
}

std::vector<std::string> keys_of(std::string_view wanted) {
  std::vector<std::string> keys;
  RunConfig config;
  RunConfig::for_each_field(config, [&](std::string_view section, const Field& field, auto&) {
    if (section == wanted) keys.emplace_back(field.name);
  });
  return keys;
}

[[noreturn]] void refuse_section(const std::string& name, const std::string& where) {
  const auto names = section_names();
  const auto like = nearest(name, names);
  const auto hint = like.empty() ? "expected one of [" + join(names, "], [") + "]"
                                 : "did you mean [" + like + "]?";
  throw UserError(where, str("unknown section [", name, "]; ", hint));
}

[[noreturn]] void refuse_key(const std::string& section, const std::string& key,
                             const std::string& where) {
  const auto keys = keys_of(section);
  std::string hint;
  if (const auto like = nearest(key, keys); !like.empty()) {
    hint = str("did you mean \"", like, "\"?");
  } else {
    hint = "expected one of " + join(keys, ", ");
    for (const auto& other : section_names()) {
      const auto others = keys_of(other);
      if (std::find(others.begin(), others.end(), key) != others.end()) {
        hint = str("it belongs to [", other, "]");
      }
    }
  }
  throw UserError(where, str("unknown key \"", key, "\" in [", section, "]; ", hint));
}

void refuse_unknown(const ConfigTree& tree) {
  const auto sections = section_names();
  for (const auto& [name, where] : tree.sections) {
    if (std::find(sections.begin(), sections.end(), name) == sections.end()) {
      refuse_section(name, where);
    }
  }
  const auto known = known_keys();
  for (const auto& [key, entry] : tree.entries) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      const size_t dot = key.find('.');
      refuse_key(key.substr(0, dot), key.substr(dot + 1), entry.where);
    }
  }
}

// --- reading
// ----------------------------------------------------------------------------------------------------

bool names_a_file(const std::string& pattern) {
  if (fs::exists(pattern)) return true;
  try {
    return !expand_glob(pattern).empty();
  } catch (const UserError&) {
    return false;
  }
}

/// A path or pattern as the run will use it: from the working directory where it names something
/// there, else from the file that set it where it names something there, else as it was written.
std::string resolve_path(const std::string& path, const fs::path& directory) {
  if (path.empty() || directory.empty() || fs::path(path).is_absolute() || names_a_file(path)) {
    return path;
  }
  const auto beside = (directory / path).lexically_normal().string();
  return names_a_file(beside) ? beside : path;
}

bool holds_paths(std::string_view key) {
  return key == "tokenizer.model" || key == "data.train" || key == "data.validation" ||
         key == "task.data" || key == "train.init_from";
}

template <class T>
void resolve_paths(const fs::path& directory, T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    value = resolve_path(value, directory);
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    for (auto& path : value) path = resolve_path(path, directory);
  }
}

/// A task's name is a path where it is that of a TOML file.
void resolve_task_files(const fs::path& directory, std::vector<std::string>& names) {
  for (auto& name : names) {
    if (name.ends_with(".toml")) name = resolve_path(name, directory);
  }
}

template <class T>
void assign_entry(const std::string& key, const Field& field, const ConfigEntry& entry, T& target) {
  constexpr bool kHoldsText = std::is_same_v<T, std::string> || std::is_enum_v<T>;
  const bool is_text = std::holds_alternative<std::string>(entry.value);
  try {
    if (kHoldsText && entry.raw && !is_text) {
      assign_field(key, field, *entry.raw, target);  // --set train.init_from=2024 names a file
    } else {
      assign_field(key, field, entry.value, target);
    }
  } catch (const UserError& error) {
    throw UserError(entry.where, error.what());
  }
  if (holds_paths(key)) resolve_paths(entry.directory, target);
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    if (key == "task.names") resolve_task_files(entry.directory, target);
  }
}

/// `model.size` stands for the keys that it fills: like them it wins over earlier files and gives
/// way to later ones, and to what its own file says.
void apply(const ConfigTree& tree, RunConfig& config) {
  int64_t size_layer = -1;
  const auto assign = [&](bool before_size) {
    RunConfig::for_each_field(
        config, [&](std::string_view section, const Field& field, auto& value) {
          const auto at = tree.entries.find(full_key(section, field));
          if (at != tree.entries.end() && (at->second.layer < size_layer) == before_size) {
            assign_entry(at->first, field, at->second, value);
          }
        });
  };
  if (const auto at = tree.entries.find("model.size"); at != tree.entries.end()) {
    size_layer = at->second.layer;
    assign(true);
    ModelSize size = config.model.size;
    assign_entry(at->first, Field{"size", ""}, at->second, size);
    config.model.apply_size(size);
  }
  assign(false);
}

// --- messages about several keys
// --------------------------------------------------------------------------------

/// `message`, after the place of the first key in it that some file or --set set.
UserError located(const RunConfig& config, const std::string& message) {
  size_t first = std::string::npos;
  std::string where;
  for (const auto& [key, place] : config.sources) {
    const size_t at = message.find(key);
    const size_t end = at == std::string::npos ? at : at + key.size();
    const bool whole =
        at != std::string::npos &&
        (end == message.size() || (std::isalnum(message[end]) == 0 && message[end] != '_'));
    if (whole && at < first) {
      first = at;
      where = place;
    }
  }
  return where.empty() ? UserError(message) : UserError(where, message);
}

void check_run(const RunConfig& config) {
  RunConfig::for_each_field(config,
                            [](std::string_view section, const Field& field, const auto& value) {
                              check_field(full_key(section, field), field, value);
                            });
  config.model.validate();
  config.data.validate();
  config.optimizer.validate();
  const auto& train = config.train;
  if (train.micro_batch_size > 0 && train.batch_size % train.micro_batch_size != 0) {
    throw UserError(str("train.micro_batch_size is ", train.micro_batch_size,
                        "; expected a divisor of train.batch_size, ", train.batch_size));
  }
  const auto& optimizer = config.optimizer;
  // The default of 10,000 belongs to rsqrt, which starts at its highest rate.
  const bool climbs = optimizer.schedule != Schedule::kRsqrt && optimizer.warmup_steps > 0;
  if (climbs && optimizer.warmup_steps >= train.steps) {
    throw UserError(str("optimizer.warmup_steps is ", optimizer.warmup_steps,
                        "; expected fewer than train.steps, ", train.steps,
                        ", or the schedule never leaves its warm-up"));
  }
}

void require_path(const std::string& key, const std::string& path) {
  if (!names_a_file(path)) {
    throw UserError(str(key, " is \"", path,
                        "\", which names no file; paths are looked for from the ",
                        "working directory, then from the file that sets them"));
  }
}

void require_start(const RunConfig& config) {
  // A checkpoint brings its own tokenizer.
  if (!config.train.init_from.empty()) {
    require_path("train.init_from", config.train.init_from);
  } else if (config.tokenizer.model.empty()) {
    throw UserError("tokenizer.model is not set; expected the path of a SentencePiece file");
  }
  if (!config.tokenizer.model.empty()) require_path("tokenizer.model", config.tokenizer.model);
}

/// What `check` finds wrong is said of `key`.
template <class Check>
void with_key(std::string_view key, Check&& check) {
  try {
    check();
  } catch (const UserError& error) {
    throw UserError(str(key, ": ", error.what()));
  }
}

template <class Check>
void check_located(const RunConfig& config, Check&& check) {
  try {
    check();
  } catch (const UserError& error) {
    throw located(config, error.what());
  }
}

}  // namespace

void RunConfig::validate() const {
  check_located(*this, [&] { check_run(*this); });
}

MaximumLengths RunConfig::maximum_lengths() const {
  if (!task.names.empty()) return {task.input_length, task.target_length};
  const auto lengths = data.lengths();
  return {lengths.input, lengths.target};
}

void RunConfig::validate_pretraining() const {
  check_located(*this, [&] {
    if (!task.names.empty()) {
      throw UserError(
          "task.names is set, but pre-training reads [data]; expected `altup finetune`, or no "
          "[task]");
    }
    if (data.train.empty()) {
      throw UserError("data.train is not set; expected a list of text files or patterns");
    }
    for (const auto& path : data.train) require_path("data.train", path);
    for (const auto& path : data.validation) require_path("data.validation", path);
    require_start(*this);
  });
}

void RunConfig::validate_finetuning() const {
  check_located(*this, [&] {
    if (!data.train.empty()) {
      throw UserError(
          "data.train is set, but fine-tuning reads [task]; expected `altup pretrain`, or no "
          "[data]");
    }
    if (task.names.empty()) {
      throw UserError("task.names is not set; expected a list of tasks such as [\"glue/sst2\"]");
    }
    with_key("task.names", [&] { find_tasks(task.names); });
    with_key("task.split", [&] { check_split(task.split); });
    with_key("task.validation_split", [&] { check_split(task.validation_split); });
    if (task.data.empty()) {
      throw UserError("task.data is not set; expected the directory of the official files");
    }
    require_path("task.data", task.data);
    if (task.split != task.validation_split && fs::is_regular_file(task.data)) {
      throw UserError(str("task.data is a file, which would be both the \"", task.split,
                          "\" and the \"", task.validation_split,
                          "\" split; expected a directory with a file for each, or the same "
                          "task.split and task.validation_split"));
    }
    require_start(*this);
  });
}

void RunConfig::validate_vocabulary(int64_t ids) const {
  check_located(*this, [&] {
    if (model.vocab_size < ids) {
      throw UserError(str("model.vocab_size is ", model.vocab_size, "; expected at least ", ids,
                          ", the tokenizer's pieces and sentinels"));
    }
  });
}

RunConfig load_run_config(const std::vector<fs::path>& files,
                          const std::vector<std::string>& overrides) {
  const ConfigTree tree = read_config_tree(files, overrides);
  refuse_unknown(tree);
  RunConfig config;
  for (const auto& [key, entry] : tree.entries) config.sources[key] = entry.where;
  apply(tree, config);
  config.validate();
  return config;
}

std::string full_key(std::string_view section, const Field& field) {
  return str(section, ".", field.name);
}

std::vector<std::string> known_keys() {
  std::vector<std::string> keys;
  RunConfig config;
  RunConfig::for_each_field(config, [&](std::string_view section, const Field& field, auto&) {
    keys.push_back(full_key(section, field));
  });
  return keys;
}

}  // namespace altup
