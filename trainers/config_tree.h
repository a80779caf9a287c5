// What the config files and --set say, merged, before anybody asks what the keys mean: a flat map
// from "section.key" to the value that wins, with the place it came from. The only file that sees
// toml++ is the one behind this header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "altup/util/field_value.h"

namespace altup {

struct ConfigEntry {
  FieldValue value;
  std::optional<std::string> raw;   ///< the words of a --set, for keys that hold text
  std::string where;                ///< "FILE:LINE", or "--set key=value"
  std::filesystem::path directory;  ///< of the file; empty for --set
  int64_t layer = 0;  ///< files count up in the order of merging; all --set are the last layer
};

struct ConfigTree {
  std::map<std::string, ConfigEntry> entries;   ///< by "section.key"
  std::map<std::string, std::string> sections;  ///< where each section that was named stands
};

/// Merges `files` in order, each after the files of its own `extends`, then `overrides`
/// ("section.key=value"). Throws UserError "FILE:LINE: …" for broken TOML, a missing file, and an
/// `extends` that leads back to itself.
ConfigTree read_config_tree(const std::vector<std::filesystem::path>& files,
                            const std::vector<std::string>& overrides);

/// `text` as a TOML string, quotes included.
std::string toml_string(const std::string& text);
/// `value` as a TOML float that reads back to the same bits.
std::string toml_float(double value);

}  // namespace altup
