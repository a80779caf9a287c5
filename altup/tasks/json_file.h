// A data file that is one JSON document, as SQuAD's and TriviaQA's are, and values of it that know
// the way to them, so that an error says where it is:
//
//   dev-v1.1.json:12: data[0].paragraphs[3].context is not a string; expected the layout of SQuAD
//
// The JSON library keeps no lines; the file is read again for them, but only when there is an error
// to tell.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

class JsonNode;

class JsonFile {
 public:
  /// `layout` says in errors what was expected: "the layout of SQuAD v1.1". Values of the keys in
  /// `unread` are not kept, wherever they are (evidence that would fill the memory). UserError
  /// where the file cannot be read, is no UTF-8, broken or cut off. A byte-order mark and CRLF do
  /// no harm.
  JsonFile(std::filesystem::path path, std::string layout,
           const std::vector<std::string>& unread = {});
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  JsonNode root() const;

 private:
  friend class JsonNode;
  std::filesystem::path path_;
  std::string layout_;
  std::string text_;
  nlohmann::json value_;
};

/// A value inside a JsonFile, which has to outlive it.
class JsonNode {
 public:
  /// Whether this is an object that has `key`.
  bool has(const std::string& key) const;

  // Each throws UserError where the value is of another kind, or is not there.
  JsonNode at(const std::string& key) const;
  std::vector<JsonNode> elements() const;
  std::string text() const;
  bool boolean() const;

  /// Throws UserError "file:line: message", with the line where this value begins.
  [[noreturn]] void fail(const std::string& message) const;

 private:
  friend class JsonFile;
  JsonNode(const JsonFile& file, const nlohmann::json& value, std::string where)
      : file_(&file), value_(&value), where_(std::move(where)) {}
  [[noreturn]] void fail_layout(const std::string& what) const;

  const JsonFile* file_;
  const nlohmann::json* value_;
  std::string where_;  // the way from the root: "data[0].paragraphs[3]"
};

/// Parses `text`, the bytes of `path`, and calls `event` as the library's parser callback does, with
/// the line that the parser has come to. UserError for broken JSON and for JSON nested deeper than
/// 100 levels, which no data file is and which would only be an attack on the memory.
using JsonEvent = std::function<bool(int depth, nlohmann::json::parse_event_t event,
                                     const nlohmann::json& value, int64_t line)>;
nlohmann::json parse_json(const std::filesystem::path& path, std::string_view text,
                          const JsonEvent& event = nullptr);

}  // namespace altup
