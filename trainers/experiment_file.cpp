// Reading an experiment's TOML file, strictly: what is not known, is of another type or contradicts
// itself is an error with its line.
#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "trainers/experiment.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

int64_t line_of(const toml::node& node) {
  return static_cast<int64_t>(node.source().begin.line);
}

/// A table whose values are asked for by key and type; finish() refuses keys that nobody asked for.
class Section {
 public:
  Section(std::string file, std::string name, const toml::table& table)
      : file_(std::move(file)), name_(std::move(name)), table_(table) {}

  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    const auto* node = table_.get(key);
    throw UserError(file_,
                    line_of(node == nullptr ? static_cast<const toml::node&>(table_) : *node),
                    str(key, " ", message));
  }

  std::string text(const std::string& key, const std::string& otherwise = "") {
    const auto* node = find(key);
    if (node == nullptr) return otherwise;
    if (!node->is_string()) fail(key, "is no string; expected one in quotes");
    return node->as_string()->get();
  }

  int64_t number(const std::string& key, int64_t otherwise) {
    const auto* node = find(key);
    if (node == nullptr) return otherwise;
    if (!node->is_integer() || node->as_integer()->get() < 1) {
      fail(key, "is no number of steps; expected an integer of at least 1");
    }
    return node->as_integer()->get();
  }

  Texts texts(const std::string& key) {
    const auto* node = find(key);
    if (node == nullptr) return {};
    if (node->is_string()) return {node->as_string()->get()};
    Texts out;
    for (const auto& element : list(key, *node)) {
      if (!element.is_string()) fail(key, "holds what is no string; expected a list of strings");
      out.push_back(element.as_string()->get());
    }
    return out;
  }

  std::vector<int64_t> integers(const std::string& key) {
    const auto* node = find(key);
    if (node == nullptr) return {};
    std::vector<int64_t> out;
    for (const auto& element : list(key, *node)) {
      if (!element.is_integer()) fail(key, "holds what is no integer; expected a list of integers");
      out.push_back(element.as_integer()->get());
    }
    return out;
  }

  void finish() const {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (asked_.contains(name)) continue;
      const Texts known(asked_.begin(), asked_.end());
      const auto like = nearest(name, known);
      throw UserError(file_, line_of(node),
                      str("unknown key \"", name, "\" in ", name_, "; ",
                          like.empty() ? "expected one of " + join(known, ", ")
                                       : "did you mean \"" + like + "\"?"));
    }
  }

 private:
  const toml::node* find(const std::string& key) {
    asked_.insert(key);
    return table_.get(key);
  }
  const toml::array& list(const std::string& key, const toml::node& node) const {
    if (!node.is_array()) fail(key, "is no list; expected one in brackets");
    return *node.as_array();
  }

  std::string file_;
  std::string name_;
  const toml::table& table_;
  std::set<std::string> asked_;
};

bool is_folder_name(const std::string& name) {
  return !name.empty() && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return (c < 0x80 && std::isalnum(c) != 0) || c == '_' || c == '-' || c == '.';
         });
}

void append(Texts& to, const Texts& more) {
  to.insert(to.end(), more.begin(), more.end());
}

class Reader {
 public:
  Reader(const fs::path& file, const Texts& overrides)
      : file_(file.lexically_normal().string()),
        folder_(file.parent_path()),
        overrides_(overrides) {}

  Experiment read() {
    const toml::table table = parse();
    const auto* head = table.get_as<toml::table>("experiment");
    const auto* variants = table.get_as<toml::array>("variant");
    for (const auto& [key, node] : table) {
      if (key != "experiment" && key != "variant") {
        throw UserError(file_, line_of(node),
                        str("unknown section \"", key.str(),
                            "\"; expected [experiment] and a [[variant]] for each"));
      }
    }
    if (head == nullptr) throw UserError(file_, "has no [experiment]");
    if (variants == nullptr || !variants->is_homogeneous<toml::table>()) {
      throw UserError(file_, "has no [[variant]]; expected at least one");
    }
    read_head(*head);
    for (const auto& node : *variants) read_variant(*node.as_table());
    check_baselines(*head, *variants);
    return std::move(experiment_);
  }

 private:
  toml::table parse() const {
    const std::string bytes = read_file(file_);
    try {
      return toml::parse(bytes, file_);
    } catch (const toml::parse_error& error) {
      throw UserError(file_, error.source().begin.line, str("broken TOML: ", error.description()));
    }
  }

  std::vector<fs::path> paths(Section& section, const std::string& key) const {
    std::vector<fs::path> found;
    for (const auto& text : section.texts(key)) {
      found.push_back((folder_ / text).lexically_normal());
      if (!fs::is_regular_file(found.back())) {
        section.fail(key,
                     str("names \"", text, "\", but there is no file ", found.back().string()));
      }
    }
    return found;
  }

  void read_head(const toml::table& table) {
    Section section(file_, "[experiment]", table);
    experiment_.name = fs::path(file_).stem().string();
    experiment_.output = section.text("output", "runs/" + experiment_.name);
    configs_ = paths(section, "configs");
    set_ = section.texts("set");
    experiment_.seeds = section.integers("seeds");
    experiment_.baseline = section.text("baseline");
    section.finish();
    if (experiment_.seeds.empty())
      section.fail("seeds", "is missing or empty; expected a list such as [1, 2, 3]");
    std::set<int64_t> seen;
    for (const auto seed : experiment_.seeds) {
      if (seed < 0) section.fail("seeds", str("holds ", seed, "; expected 0 or more"));
      if (!seen.insert(seed).second) section.fail("seeds", str("holds ", seed, " twice"));
    }
  }

  void read_variant(const toml::table& table) {
    Section section(file_, "[[variant]]", table);
    ExperimentVariant variant;
    variant.name = section.text("name");
    variant.label = section.text("label", variant.name);
    variant.group = section.text("group");
    variant.baseline = section.text("baseline");
    variant.configs = configs_;
    for (const auto& path : paths(section, "configs")) variant.configs.push_back(path);
    variant.overrides = set_;
    append(variant.overrides, section.texts("set"));
    if (const int64_t steps = section.number("steps", 0); steps > 0) {
      variant.overrides.push_back(str("train.steps=", steps));
    }
    append(variant.overrides, overrides_);
    section.finish();
    if (!is_folder_name(variant.name)) {
      section.fail("name", str("is \"", variant.name,
                               "\"; expected the name of a folder: letters, digits and _ - ."));
    }
    for (const auto& other : experiment_.variants) {
      if (other.name == variant.name) {
        section.fail("name", str("is \"", variant.name, "\", as another variant's is"));
      }
    }
    if (variant.configs.empty()) {
      section.fail("configs", "are missing, here and in [experiment]; expected the files of a run");
    }
    experiment_.variants.push_back(std::move(variant));
  }

  void check_baselines(const toml::table& head, const toml::array& variants) {
    Texts names;
    for (const auto& variant : experiment_.variants) names.push_back(variant.name);
    const auto check = [&](const toml::table& table, const std::string& name) {
      if (std::find(names.begin(), names.end(), name) != names.end()) return;
      Section(file_, "", table)
          .fail("baseline", str("is \"", name, "\"; expected one of ", join(names, ", ")));
    };
    if (experiment_.baseline.empty()) experiment_.baseline = names.front();
    check(head, experiment_.baseline);
    for (size_t i = 0; i < names.size(); ++i) {
      auto& baseline = experiment_.variants[i].baseline;
      if (baseline.empty()) baseline = experiment_.baseline;
      check(*variants[i].as_table(), baseline);
    }
  }

  std::string file_;
  fs::path folder_;
  const Texts& overrides_;
  std::vector<fs::path> configs_;
  Texts set_;
  Experiment experiment_;
};

}  // namespace

Experiment read_experiment(const fs::path& file, const std::vector<std::string>& overrides) {
  return Reader(file, overrides).read();
}

fs::path Experiment::run_directory(const ExperimentVariant& variant, int64_t seed) const {
  return output / variant.name / str("seed-", seed);
}

RunConfig experiment_config(const ExperimentVariant& variant, int64_t seed) {
  auto overrides = variant.overrides;
  overrides.push_back(str("train.seed=", seed));
  try {
    auto config = load_run_config(variant.configs, overrides);
    config.validate_pretraining();
    if (config.data.validation.empty()) {
      throw UserError("data.validation is not set; an experiment compares losses on held-out text");
    }
    return config;
  } catch (const UserError& error) {
    throw UserError(str("variant ", variant.name, ": ", error.what()));
  }
}

}  // namespace altup
