// From a value that a file or a command line gave to the field of a Config, strictly: the type must
// fit, the number must be in the field's range, the word must be one of the enum's. TOML, --set and
// JSON all go through here, so that they refuse the same things in the same words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "altup/util/error.h"
#include "altup/util/fields.h"

namespace altup {

/// A value of a type that no field has, by its name: "a date", "a list of integers".
struct OtherValue {
  std::string what;
};

using FieldValue =
    std::variant<bool, int64_t, double, std::string, std::vector<std::string>, OtherValue>;

/// assign_field(key, field, value, target) sets `target` or throws UserError "KEY is …; expected
/// …". Whole numbers are accepted where a fraction is asked for, and a lone string where a list of
/// strings is.
void assign_field(const std::string& key, const Field& field, const FieldValue& value,
                  bool& target);
void assign_field(const std::string& key, const Field& field, const FieldValue& value,
                  int64_t& target);
void assign_field(const std::string& key, const Field& field, const FieldValue& value,
                  double& target);
void assign_field(const std::string& key, const Field& field, const FieldValue& value,
                  std::string& target);
void assign_field(const std::string& key, const Field& field, const FieldValue& value,
                  std::vector<std::string>& target);

/// The number of a field in memory is held to the same range; other types have none.
void check_field(const std::string& key, const Field& field, int64_t value);
void check_field(const std::string& key, const Field& field, double value);
template <class T>
void check_field(const std::string&, const Field&, const T&) {}

/// Throws UserError "KEY is VALUE; expected EXPECTED".
[[noreturn]] void refuse_field(const std::string& key, const FieldValue& value,
                               const std::string& expected);

/// The words of an enum, joined: "fp32", "bf16" with separator ", ".
template <class E>
std::string enum_words(std::string_view separator, std::string_view quote) {
  std::string words;
  for (const auto& [name, value] : EnumNames<E>::kNames) {
    if (!words.empty()) words += separator;
    words.append(quote).append(name).append(quote);
  }
  return words;
}

template <class E>
requires std::is_enum_v<E>
void assign_field(const std::string& key, const Field&, const FieldValue& value, E& target) {
  const auto* word = std::get_if<std::string>(&value);
  if (word != nullptr) {
    for (const auto& [name, known] : EnumNames<E>::kNames) {
      if (name == *word) {
        target = known;
        return;
      }
    }
  }
  refuse_field(key, value, "one of " + enum_words<E>(", ", "\""));
}

}  // namespace altup
