#include "altup/tasks/json_lines.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <utility>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

using nlohmann::json;

struct JsonRecord {
  std::filesystem::path path;
  int64_t line;
  json value;
};

namespace {

const json& as_json(const void* value) {
  return *static_cast<const json*>(value);
}

// What a value is, in the words of the errors.
std::string kind(const json& value) {
  if (value.is_null()) return "null";
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number()) return str("the number ", value.dump());
  const std::string text = value.get<std::string>();
  return text.size() <= 40 ? str("the text \"", text, "\"") : "a text";
}

}  // namespace

JsonValue::JsonValue(std::shared_ptr<const JsonRecord> record, const void* value, std::string where)
    : record_(std::move(record)), value_(value), where_(std::move(where)) {}

JsonValue JsonValue::parse(const std::filesystem::path& path, int64_t line, std::string_view text) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    throw UserError(path.string(), line,
                    str("byte ", bad + 1, " of the line is not valid UTF-8; expected UTF-8 text"));
  }
  auto record = std::make_shared<JsonRecord>(JsonRecord{path, line, {}});
  try {
    record->value = json::parse(text);
  } catch (const json::exception& error) {
    const auto* parse_error = dynamic_cast<const json::parse_error*>(&error);
    const bool cut = parse_error != nullptr && parse_error->byte > text.size();
    throw UserError(path.string(), line,
                    cut ? "the JSON is cut off at the end of the line; expected one whole JSON "
                          "object a line"
                    : parse_error != nullptr ? str("broken JSON at byte ", parse_error->byte,
                                                   " of the line; expected one JSON object a line")
                                             : "broken JSON; expected one JSON object a line");
  }
  const json* value = &record->value;
  return JsonValue(std::move(record), value, "");
}

const void* JsonValue::find(std::string_view path) const {
  const json* value = &as_json(value_);
  while (!path.empty()) {
    if (!value->is_object()) return nullptr;
    auto found = value->find(path);
    size_t used = path.size();
    if (found == value->end()) {
      used = std::min(path.find('.'), path.size());
      found = value->find(path.substr(0, used));
      if (found == value->end()) return nullptr;
    }
    value = &*found;
    path.remove_prefix(std::min(used + 1, path.size()));
  }
  return value;
}

std::string JsonValue::where(std::string_view path) const {
  if (where_.empty()) return std::string(path);
  return path.empty() ? where_ : str(where_, ".", path);
}

void JsonValue::fail(const std::string& message) const {
  throw UserError(record_->path.string(), record_->line, message);
}

void JsonValue::fail(std::string_view path, const std::string& expected) const {
  const void* value = find(path);
  const std::string place = where(path);
  fail(str(place.empty() ? "the line" : str("\"", place, "\""), " is ",
           value == nullptr ? "missing" : kind(as_json(value)), "; expected ", expected));
}

JsonValue JsonValue::at(std::string_view path, const char* expected) const {
  const void* value = find(path);
  if (value == nullptr) fail(path, expected);
  return JsonValue(record_, value, where(path));
}

bool JsonValue::has(std::string_view path) const {
  const void* value = find(path);
  return value != nullptr && !as_json(value).is_null();
}

std::string JsonValue::text(std::string_view path) const {
  const void* value = find(path);
  if (value == nullptr || !as_json(value).is_string()) fail(path, "a text");
  return as_json(value).get<std::string>();
}

int64_t JsonValue::integer(std::string_view path) const {
  const void* value = find(path);
  if (value == nullptr || !as_json(value).is_number_integer()) fail(path, "an integer");
  constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();
  if (as_json(value).is_number_unsigned() && as_json(value).get<uint64_t>() > kLargest) {
    fail(path, str("an integer up to ", kLargest));
  }
  return as_json(value).get<int64_t>();
}

double JsonValue::number(std::string_view path) const {
  const void* value = find(path);
  if (value == nullptr || !as_json(value).is_number()) fail(path, "a number");
  return as_json(value).get<double>();
}

bool JsonValue::boolean(std::string_view path) const {
  const void* value = find(path);
  if (value == nullptr || !as_json(value).is_boolean()) fail(path, "true or false");
  return as_json(value).get<bool>();
}

std::string JsonValue::label(std::string_view path, const std::string& expected) const {
  const void* value = find(path);
  if (value != nullptr) {
    const json& found = as_json(value);
    if (found.is_string()) return found.get<std::string>();
    if (found.is_boolean() || found.is_number_integer()) return found.dump();
  }
  fail(path, expected);
}

std::string JsonValue::scalar(std::string_view path) const {
  const void* value = find(path);
  if (value != nullptr) {
    const json& found = as_json(value);
    if (found.is_string()) return found.get<std::string>();
    if (found.is_boolean() || found.is_number()) return found.dump();
  }
  fail(path, "a text, a number, or true or false");
}

bool JsonValue::is_array(std::string_view path) const {
  const void* value = find(path);
  return value != nullptr && as_json(value).is_array();
}

JsonValue JsonValue::object(std::string_view path) const {
  JsonValue value = at(path, "an object");
  if (!as_json(value.value_).is_object()) fail(path, "an object");
  return value;
}

std::vector<JsonValue> JsonValue::array(std::string_view path) const {
  const JsonValue value = at(path, "an array");
  const json& elements = as_json(value.value_);
  if (!elements.is_array()) fail(path, "an array");
  std::vector<JsonValue> out;
  out.reserve(elements.size());
  for (size_t i = 0; i < elements.size(); ++i) {
    out.push_back(JsonValue(record_, &elements[i], str(value.where_, "[", i, "]")));
  }
  return out;
}

int64_t JsonValue::line() const {
  return record_->line;
}

JsonLinesReader::JsonLinesReader(std::filesystem::path path)
    : path_(std::move(path)), bytes_(read_file(path_)) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (bytes_.starts_with(kByteOrderMark)) position_ = kByteOrderMark.size();
}

std::optional<JsonValue> JsonLinesReader::next() {
  std::string_view text;
  while (trim(text).empty()) {
    if (position_ >= bytes_.size()) return {};
    const size_t end = std::min(bytes_.find('\n', position_), bytes_.size());
    text = std::string_view(bytes_).substr(position_, end - position_);
    position_ = end + 1;
    ++line_;
  }
  return JsonValue::parse(path_, line_, text).object();
}

}  // namespace altup
