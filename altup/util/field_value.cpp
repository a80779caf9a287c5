#include "altup/util/field_value.h"

#include <cmath>

#include "altup/util/text.h"

namespace altup {
namespace {

/// `value` as a message shows it, with its type where that may be what is wrong.
std::string shown(const FieldValue& value) {
  struct Visitor {
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return str(v); }
    std::string operator()(const std::string& v) const { return '"' + v + '"'; }
    std::string operator()(const std::vector<std::string>&) const { return "a list"; }
    std::string operator()(const OtherValue& v) const { return v.what; }
  };
  return std::visit(Visitor{}, value);
}

/// Bounds as people write them: 1048576, not 1.04858e+06.
std::string bound(double value) {
  const bool whole = std::floor(value) == value && std::abs(value) < 1e15;
  return whole ? std::to_string(static_cast<int64_t>(value)) : str(value);
}

std::string range(const Field& field, const std::string& noun) {
  const bool low = std::isfinite(field.min);
  const bool high = std::isfinite(field.max);
  if (low && high) return str(noun, " between ", bound(field.min), " and ", bound(field.max));
  if (low) return str(noun, " of at least ", bound(field.min));
  if (high) return str(noun, " of at most ", bound(field.max));
  return noun;
}

}  // namespace

void refuse_field(const std::string& key, const FieldValue& value, const std::string& expected) {
  throw UserError(str(key, " is ", shown(value), "; expected ", expected));
}

void check_field(const std::string& key, const Field& field, int64_t value) {
  const auto number = static_cast<double>(value);
  if (number < field.min || number > field.max) {
    refuse_field(key, value, range(field, "an integer"));
  }
}

void check_field(const std::string& key, const Field& field, double value) {
  if (!std::isfinite(value) || value < field.min || value > field.max) {
    refuse_field(key, value, range(field, "a number"));
  }
}

void assign_field(const std::string& key, const Field&, const FieldValue& value, bool& target) {
  const auto* flag = std::get_if<bool>(&value);
  if (flag == nullptr) refuse_field(key, value, "true or false");
  target = *flag;
}

void assign_field(const std::string& key, const Field& field, const FieldValue& value,
                  int64_t& target) {
  const auto* number = std::get_if<int64_t>(&value);
  if (number == nullptr) refuse_field(key, value, range(field, "an integer"));
  check_field(key, field, *number);
  target = *number;
}

void assign_field(const std::string& key, const Field& field, const FieldValue& value,
                  double& target) {
  double number = 0;
  if (const auto* fraction = std::get_if<double>(&value)) {
    number = *fraction;
  } else if (const auto* whole = std::get_if<int64_t>(&value)) {
    number = static_cast<double>(*whole);
  } else {
    refuse_field(key, value, range(field, "a number"));
  }
  check_field(key, field, number);
  target = number;
}

void assign_field(const std::string& key, const Field&, const FieldValue& value,
                  std::string& target) {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) refuse_field(key, value, "a string");
  target = *text;
}

void assign_field(const std::string& key, const Field&, const FieldValue& value,
                  std::vector<std::string>& target) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    target = {*text};
  } else if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    target = *list;
  } else {
    refuse_field(key, value, "a list of strings");
  }
}

}  // namespace altup
