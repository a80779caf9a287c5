#include "altup/tasks/own_task_rows.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "altup/tasks/json_lines.h"
#include "altup/tasks/tsv.h"
#include "altup/util/text.h"

namespace altup {

namespace {

namespace fs = std::filesystem;

class TsvRows : public RowReader {
 public:
  TsvRows(const fs::path& path, std::vector<std::string> columns,
          const std::vector<NeededColumn>& needed)
      : reader_(path), columns_(std::move(columns)) {
    if (columns_.empty()) read_header();
    for (const auto& [column, asked_by] : needed) {
      if (has(column)) continue;
      const std::string closest = nearest(column, columns_);
      fail(str("the header has no column \"", column, "\", which ", asked_by, " names; expected ",
               closest.empty() ? "one of " + join(columns_, ", ") : "perhaps " + closest));
    }
  }

  bool next() override {
    if (!reader_.next(fields_)) return false;
    reader_.expect_columns(fields_, columns_.size());
    return true;
  }
  bool has(const std::string& column) const override {
    return std::find(columns_.begin(), columns_.end(), column) != columns_.end();
  }
  std::string text(const std::string& column) const override {
    const auto found = std::find(columns_.begin(), columns_.end(), column);
    return std::string(fields_.at(static_cast<size_t>(found - columns_.begin())));
  }
  std::vector<std::string> texts(const std::string& column) const override {
    return {text(column)};
  }
  [[noreturn]] void fail(const std::string& message) const override { reader_.fail(message); }

 private:
  void read_header() {
    if (!reader_.next(fields_)) fail("is empty; expected a header and one row for each example");
    for (const auto field : fields_) {
      const std::string column(field);
      if (has(column)) fail(str("the header has the column \"", column, "\" twice"));
      columns_.push_back(column);
    }
  }

  TsvReader reader_;
  std::vector<std::string> columns_;
  std::vector<std::string_view> fields_;
};

class JsonRows : public RowReader {
 public:
  JsonRows(const fs::path& path, std::vector<NeededColumn> needed)
      : reader_(path), needed_(std::move(needed)) {}

  bool next() override {
    row_ = reader_.next();
    if (!row_) return false;
    for (const auto& [column, asked_by] : needed_) {
      if (!has(column)) {
        fail(str("\"", column, "\" is missing, which ", asked_by,
                 " names; expected it in each line"));
      }
    }
    return true;
  }
  bool has(const std::string& column) const override { return row_->has(column); }
  std::string text(const std::string& column) const override { return row_->scalar(column); }
  std::vector<std::string> texts(const std::string& column) const override {
    if (!row_->is_array(column)) return {text(column)};
    std::vector<std::string> out;
    for (const auto& element : row_->array(column)) out.push_back(element.scalar());
    return out;
  }
  [[noreturn]] void fail(const std::string& message) const override { row_->fail(message); }

 private:
  JsonLinesReader reader_;
  std::vector<NeededColumn> needed_;
  std::optional<JsonValue> row_;
};

}  // namespace

std::unique_ptr<RowReader> open_rows(const OwnTask& task, const fs::path& path,
                                     std::vector<NeededColumn> needed) {
  if (task.format == RowFormat::kTsv) {
    return std::make_unique<TsvRows>(path, task.columns, needed);
  }
  return std::make_unique<JsonRows>(path, std::move(needed));
}

}  // namespace altup
