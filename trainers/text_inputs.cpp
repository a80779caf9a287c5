#include "trainers/text_inputs.h"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

// Keys stay in the order in which they are set.
using Json = nlohmann::ordered_json;

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json parse_line(const std::string& path, int64_t line_number, const std::string& line) {
  try {
    return Json::parse(line);
  } catch (const Json::parse_error& error) {
    throw UserError(path, line_number,
                    str("broken JSON at byte ", error.byte,
                        " of the line; expected one object a line, in UTF-8"));
  } catch (const Json::exception&) {
    throw UserError(path, line_number,
                    "holds a number too large for a double; expected one object a line");
  }
}

}  // namespace

TextInputReader::TextInputReader(const std::string& path, bool json_lines)
    : path_(path.empty() ? "standard input" : path), json_lines_(json_lines) {
  if (!path.empty()) file_ = std::make_unique<LineReader>(path);
}

bool TextInputReader::next_line(std::string& line) {
  ++line_number_;
  if (file_) return file_->next(line);
  if (!std::getline(std::cin, line)) return false;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  require_utf8(path_, line_number_, line);
  return true;
}

bool TextInputReader::next(TextInput& input) {
  std::string line;
  do {
    if (!next_line(line)) return false;
  } while (json_lines_ && trim(line).empty());
  input = {};
  if (!json_lines_) {
    input.text = line;
    return true;
  }
  const auto object = parse_line(path_, line_number_, line);
  const std::string expected = "expected an object with \"text\", a string";
  if (!object.is_object())
    throw UserError(path_, line_number_, str("is no JSON object; ", expected));
  const auto text = object.find("text");
  if (text == object.end())
    throw UserError(path_, line_number_, str("has no \"text\"; ", expected));
  if (!text->is_string())
    throw UserError(path_, line_number_, str("\"text\" is ", dump(*text), "; ", expected));
  input.text = text->get<std::string>();
  if (const auto id = object.find("id"); id != object.end()) input.id = dump(*id);
  return true;
}

std::string output_line(const TextInput& input, const std::vector<TextHypothesis>& outputs,
                        bool with_scores) {
  std::vector<Json> objects;
  for (const auto& output : outputs) {
    Json object = {{"text", output.text}, {"tokens", output.ids}, {"finished", output.finished}};
    if (with_scores) object["score"] = output.score;
    objects.push_back(std::move(object));
  }
  Json line = Json::object();
  if (!input.id.empty()) line["id"] = Json::parse(input.id);
  if (objects.size() == 1) {
    line.update(objects.front());
  } else {
    line["outputs"] = objects;
  }
  return dump(line);
}

std::string in_one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return line;
}

}  // namespace altup
