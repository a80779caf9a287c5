#include "trainers/config_tree.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;

std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    default:
      return "a date with time";
  }
}

FieldValue to_value(const toml::node& node) {
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* whole = node.as_integer()) return whole->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* array = node.as_array()) {
    std::vector<std::string> list;
    for (const auto& element : *array) {
      const auto* text = element.as_string();
      if (text == nullptr) return OtherValue{"a list that holds " + type_name(element)};
      list.push_back(text->get());
    }
    return list;
  }
  return OtherValue{type_name(node)};
}

class Reader {
 public:
  ConfigTree take() && { return std::move(tree_); }

  /// Merges `path` after the files that it extends; `open` are the files on the way to it.
  void read(const fs::path& path, std::vector<fs::path> open) {
    const std::string name = path.lexically_normal().string();
    const toml::table table = parse(name);
    open.push_back(fs::weakly_canonical(path));
    if (const auto* extends = table.get("extends")) {
      for (const auto& base : bases(*extends, name)) follow(base, path, open);
    }
    ++layer_;
    for (const auto& [key, node] : table) {
      if (key == "extends") continue;
      const std::string section(key.str());
      const std::string where = place(name, node);
      tree_.sections.insert_or_assign(section, where);
      const auto* keys = node.as_table();
      if (keys == nullptr) {
        throw UserError(where, str(section, " is ", type_name(node),
                                   " outside of any section; expected sections such as [train]"));
      }
      for (const auto& [inner, value] : *keys) {
        tree_.entries.insert_or_assign(str(section, ".", inner.str()),
                                       ConfigEntry{to_value(value), std::nullopt,
                                                   place(name, value), path.parent_path(), layer_});
      }
    }
  }

  void override_all(const std::vector<std::string>& overrides) {
    ++layer_;
    for (const auto& text : overrides) override_one(text);
  }

 private:
  struct Base {
    std::string path;
    std::string where;
  };

  static std::string place(const std::string& name, const toml::node& node) {
    return str(name, ":", node.source().begin.line);
  }

  static toml::table parse(const std::string& name) {
    const std::string bytes = read_file(name);
    try {
      return toml::parse(bytes, name);
    } catch (const toml::parse_error& error) {
      throw UserError(name, error.source().begin.line, str("broken TOML: ", error.description()));
    }
  }

  static std::vector<Base> bases(const toml::node& extends, const std::string& name) {
    const auto wrong = [&](const toml::node& node) {
      return UserError(place(name, node), str("extends is ", type_name(node),
                                              "; expected the path of a file or a list of them"));
    };
    if (const auto* text = extends.as_string()) return {{text->get(), place(name, extends)}};
    if (!extends.is_array()) throw wrong(extends);
    std::vector<Base> found;
    for (const auto& element : *extends.as_array()) {
      if (!element.is_string()) throw wrong(element);
      found.push_back({element.as_string()->get(), place(name, element)});
    }
    return found;
  }

  void follow(const Base& base, const fs::path& from, const std::vector<fs::path>& open) {
    const fs::path path = from.parent_path() / base.path;
    if (!fs::is_regular_file(path)) {
      throw UserError(base.where, str("extends \"", base.path, "\", but there is no file ",
                                      path.lexically_normal().string()));
    }
    if (std::find(open.begin(), open.end(), fs::weakly_canonical(path)) != open.end()) {
      throw UserError(base.where, str("extends \"", base.path,
                                      "\", which extends this file again; expected no circle"));
    }
    read(path, open);
  }

  void override_one(const std::string& text) {
    const std::string where = "--set " + text;
    const size_t equals = text.find('=');
    const std::string key(trim(text.substr(0, equals)));
    const size_t dot = key.find('.');
    if (equals == std::string::npos || dot == std::string::npos) {
      throw UserError(where, "expected section.key=value, such as train.steps=1000");
    }
    if (find_invalid_utf8(text) != std::string::npos) {
      throw UserError(where, "expected text in UTF-8");
    }
    const std::string raw(trim(std::string_view(text).substr(equals + 1)));
    tree_.sections.insert_or_assign(key.substr(0, dot), where);
    tree_.entries.insert_or_assign(key, ConfigEntry{override_value(raw), raw, where, {}, layer_});
  }

  /// A TOML value where the words are one, else the words themselves: --set train.precision=bf16.
  static FieldValue override_value(const std::string& raw) {
    try {
      const toml::table table = toml::parse("value = " + raw);
      if (table.size() == 1) return to_value(*table.get("value"));
    } catch (const toml::parse_error&) {
    }
    return raw;
  }

  ConfigTree tree_;
  int64_t layer_ = 0;
};

}  // namespace

ConfigTree read_config_tree(const std::vector<fs::path>& files,
                            const std::vector<std::string>& overrides) {
  Reader reader;
  for (const auto& file : files) reader.read(file, {});
  reader.override_all(overrides);
  return std::move(reader).take();
}

std::string toml_string(const std::string& text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string toml_float(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string out(buffer.data(), end);
  // "1" would read back as an integer.
  if (std::isfinite(value) && out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

}  // namespace altup
