// A JSON file of others, read with errors that name file and key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup::hugging_face {

class JsonFile {
 public:
  using Json = nlohmann::ordered_json;

  explicit JsonFile(const std::filesystem::path& path) : JsonFile(path.string(), read_file(path)) {}

  JsonFile(std::string path, const std::string& text) : path_(std::move(path)) {
    try {
      json_ = Json::parse(text);
    } catch (const Json::parse_error& error) {
      // nlohmann counts bytes from 1.
      throw UserError(path_, line_of(text, error.byte > 0 ? error.byte - 1 : 0),
                      "broken JSON; expected one object");
    }
    if (!json_.is_object()) fail("is not a JSON object; expected one");
  }

  const std::string& path() const { return path_; }
  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  const Json& value(const char* key) const { return json_.at(key); }

  /// A missing key is an error without a `fallback`.
  int64_t integer(const char* key, std::optional<int64_t> fallback = {}) const {
    return get(key, fallback, &Json::is_number_integer, "a whole number");
  }
  double real(const char* key, double fallback) const {
    return get<double>(key, fallback, &Json::is_number, "a number");
  }
  bool boolean(const char* key, bool fallback) const {
    return get<bool>(key, fallback, &Json::is_boolean, "true or false");
  }
  std::string word(const char* key, const std::string& fallback) const {
    return get<std::string>(key, fallback, &Json::is_string, "a string");
  }

  [[noreturn]] void fail(const std::string& what) const { throw UserError(path_, what); }
  [[noreturn]] void refuse(const char* key, const std::string& expected) const {
    const auto value = has(key) ? json_[key].dump() : "missing";
    fail(str("\"", key, "\" is ", value, "; expected ", expected));
  }

 private:
  template <class T>
  T get(const char* key, const std::optional<T>& fallback, bool (Json::*is_right)() const noexcept,
        const char* expected) const {
    if (!has(key)) {
      if (fallback) return *fallback;
      fail(str("has no \"", key, "\"; expected the config of a T5"));
    }
    if (!(json_[key].*is_right)()) refuse(key, expected);
    return json_[key].get<T>();
  }

  std::string path_;
  Json json_;
};

}  // namespace altup::hugging_face
