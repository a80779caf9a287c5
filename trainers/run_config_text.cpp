// Writing: every key of a run with what it is, as TOML and as tables.
#include <type_traits>

#include "altup/util/field_value.h"
#include "altup/util/text.h"
#include "trainers/config_tree.h"
#include "trainers/run_config.h"

namespace altup {
namespace {

std::string toml_value(bool value) {
  return value ? "true" : "false";
}
std::string toml_value(int64_t value) {
  return std::to_string(value);
}
std::string toml_value(double value) {
  return toml_float(value);
}
std::string toml_value(const std::string& value) {
  return toml_string(value);
}
std::string toml_value(const std::vector<std::string>& value) {
  std::vector<std::string> parts;
  for (const auto& text : value) parts.push_back(toml_string(text));
  return "[" + join(parts, ", ") + "]";
}
template <class E>
requires std::is_enum_v<E> std::string toml_value(E value) {
  return str('"', enum_name(value), '"');
}

/// "" for a field that is not an enum.
template <class T>
std::string choices(const T&, std::string_view separator, std::string_view quote) {
  if constexpr (std::is_enum_v<T>) return enum_words<T>(separator, quote);
  return "";
}

}  // namespace

std::string to_toml(const RunConfig& config) {
  std::string out;
  std::string_view open;
  RunConfig::for_each_field(config,
                            [&](std::string_view section, const Field& field, const auto& value) {
                              if (section != open) {
                                out += str(out.empty() ? "[" : "\n[", section, "]\n");
                                open = section;
                              }
                              const auto words = choices(value, " | ", "");
                              out += str(field.name, " = ", toml_value(value), "  # ", field.help,
                                         words.empty() ? "" : ": ", words, "\n");
                            });
  return out;
}

std::map<std::string, std::string> resolved_values(const RunConfig& config) {
  std::map<std::string, std::string> values;
  RunConfig::for_each_field(config,
                            [&](std::string_view section, const Field& field, const auto& value) {
                              values[full_key(section, field)] = toml_value(value);
                            });
  return values;
}

std::string key_tables() {
  std::string out;
  std::string_view open;
  const RunConfig defaults;
  RunConfig::for_each_field(defaults,
                            [&](std::string_view section, const Field& field, const auto& value) {
                              if (section != open) {
                                out += str(out.empty() ? "" : "\n", "### `[", section,
                                           "]`\n\n| key | default | meaning |\n|---|---|---|\n");
                                open = section;
                              }
                              const auto words = choices(value, ", ", "`");
                              out += str("| `", field.name, "` | `", toml_value(value), "` | ",
                                         field.help, words.empty() ? "" : ": ", words, " |\n");
                            });
  return out;
}

}  // namespace altup
