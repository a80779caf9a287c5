#include "altup/tasks/json_file.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {

using nlohmann::json;

namespace {

// How far the parser has read.
struct Progress {
  int64_t line = 1;
  char last = '\0';

  // A number ends where the character after it has been read, which may be the end of the line.
  int64_t event_line() const { return last == '\n' ? line - 1 : line; }
};

// Characters of a text; each that is passed is noted in `progress`.
struct WatchedChars {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  Progress* progress;

  reference operator*() const { return *at; }
  WatchedChars& operator++() {
    progress->last = *at;
    if (*at == '\n') ++progress->line;
    ++at;
    return *this;
  }
  bool operator==(const WatchedChars& other) const { return at == other.at; }
  bool operator!=(const WatchedChars& other) const { return at != other.at; }
};

[[noreturn]] void throw_broken(const std::filesystem::path& path, std::string_view text,
                               const json::parse_error& error) {
  // The library counts bytes from 1; the offending one is the last that it read.
  const size_t offset = error.byte > 0 ? error.byte - 1 : 0;
  const int64_t line = line_of(text, offset);
  const size_t bad = find_invalid_utf8(text);
  if (bad <= offset) {
    throw UserError(path.string(), line_of(text, bad),
                    str("byte ", bad + 1, " is not valid UTF-8; expected UTF-8 text"));
  }
  if (offset >= text.size()) {
    throw UserError(path.string(), line,
                    str("the JSON is cut off at the end of the file (byte ", text.size(),
                        "); expected one whole JSON object"));
  }
  throw UserError(path.string(), line,
                  str("broken JSON at byte ", error.byte, "; expected one JSON object in UTF-8"));
}

// The line where the value begins to which `where` leads.
int64_t find_line(const std::filesystem::path& path, std::string_view text,
                  const std::string& where) {
  constexpr size_t kElsewhere = std::string::npos;
  struct Level {
    bool is_array;
    size_t matched;  // how much of `where` leads here; kElsewhere: it leads to another place
    std::string key = {};
    int64_t next_element = 0;
  };
  std::vector<Level> open;
  int64_t found = 0;
  const auto begin_value = [&](int64_t line) {
    size_t matched = 0;
    if (!open.empty()) {
      Level& level = open.back();
      const std::string step = level.is_array       ? str("[", level.next_element++, "]")
                               : level.matched == 0 ? level.key
                                                    : str(".", level.key);
      const bool on_the_way =
          level.matched != kElsewhere && where.compare(level.matched, step.size(), step) == 0;
      matched = on_the_way ? level.matched + step.size() : kElsewhere;
    }
    if (found == 0 && matched == where.size()) found = line;
    return matched;
  };
  parse_json(path, text, [&](int, json::parse_event_t event, const json& value, int64_t line) {
    switch (event) {
      case json::parse_event_t::key:
        open.back().key = value.get<std::string>();
        break;
      case json::parse_event_t::value:
        begin_value(line);
        break;
      case json::parse_event_t::object_start:
        open.push_back({false, begin_value(line)});
        break;
      case json::parse_event_t::array_start:
        open.push_back({true, begin_value(line)});
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        open.pop_back();
        break;
    }
    return true;
  });
  return found;
}

}  // namespace

json parse_json(const std::filesystem::path& path, std::string_view text, const JsonEvent& event) {
  constexpr int kDeepest = 100;
  try {
    Progress progress;
    return json::parse(WatchedChars{text.data(), &progress},
                       WatchedChars{text.data() + text.size(), &progress},
                       [&](int depth, json::parse_event_t kind, const json& value) {
                         // `depth` counts what is open around the value.
                         if (depth >= kDeepest && (kind == json::parse_event_t::object_start ||
                                                   kind == json::parse_event_t::array_start)) {
                           throw UserError(path.string(), progress.line,
                                           str("the JSON is nested deeper than ", kDeepest,
                                               " levels; expected the few of a data file"));
                         }
                         return !event || event(depth, kind, value, progress.event_line());
                       });
  } catch (const json::parse_error& error) {
    throw_broken(path, text, error);
  }
}

JsonFile::JsonFile(std::filesystem::path path, std::string layout,
                   const std::vector<std::string>& unread)
    : path_(std::move(path)), layout_(std::move(layout)), text_(read_file(path_)) {
  if (unread.empty()) {
    value_ = parse_json(path_, text_);
    return;
  }
  value_ =
      parse_json(path_, text_, [&](int, json::parse_event_t event, const json& value, int64_t) {
        return event != json::parse_event_t::key ||
               std::find(unread.begin(), unread.end(), value.get_ref<const std::string&>()) ==
                   unread.end();
      });
}

JsonNode JsonFile::root() const {
  return JsonNode(*this, value_, "");
}

bool JsonNode::has(const std::string& key) const {
  return value_->is_object() && value_->contains(key);
}

JsonNode JsonNode::at(const std::string& key) const {
  if (!has(key)) fail_layout(str("has no \"", key, "\""));
  return JsonNode(*file_, value_->at(key), where_.empty() ? key : str(where_, ".", key));
}

std::vector<JsonNode> JsonNode::elements() const {
  if (!value_->is_array()) fail_layout("is not a list");
  std::vector<JsonNode> nodes;
  nodes.reserve(value_->size());
  for (size_t i = 0; i < value_->size(); ++i) {
    nodes.push_back(JsonNode(*file_, (*value_)[i], str(where_, "[", i, "]")));
  }
  return nodes;
}

std::string JsonNode::text() const {
  if (!value_->is_string()) fail_layout("is not a string");
  return value_->get<std::string>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) fail_layout("is not true or false");
  return value_->get<bool>();
}

void JsonNode::fail(const std::string& message) const {
  throw UserError(file_->path_.string(), find_line(file_->path_, file_->text_, where_), message);
}

void JsonNode::fail_layout(const std::string& what) const {
  fail(str(where_.empty() ? "the file" : where_, " ", what, "; expected ", file_->layout_));
}

}  // namespace altup
