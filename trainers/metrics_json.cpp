// metrics.jsonl, the run's figures for programs: one object a line, {"step": …, "split": …,
// values…}.
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "trainers/metrics.h"

namespace altup {
namespace {

using Json = nlohmann::ordered_json;

std::string to_line(const MetricRecord& record) {
  Json object = {{"step", record.step}, {"split", record.split}};
  for (const auto& [name, value] : record.values) {
    // JSON has no NaN.
    object[name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  }
  return object.dump() + "\n";
}

MetricRecord to_record(const Json& object, const std::string& path, int64_t line) {
  const auto expect = [&](bool good, const std::string& what) {
    if (!good) throw UserError(path, line, what);
  };
  expect(object.is_object(), "not an object; expected a record such as {\"step\": 1, …}");
  expect(object.contains("step") && object["step"].is_number_integer(),
         "no \"step\"; expected an integer");
  expect(object.contains("split") && object["split"].is_string(),
         "no \"split\"; expected a string");
  MetricRecord record{object["step"].get<int64_t>(), object["split"].get<std::string>(), {}};
  for (const auto& [name, value] : object.items()) {
    if (name == "step" || name == "split") continue;
    expect(value.is_number() || value.is_null(),
           "\"" + name + "\" is a JSON " + value.type_name() + "; expected a number");
    record.values[name] =
        value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
  }
  return record;
}

class JsonSink : public MetricSink {
 public:
  JsonSink(const std::filesystem::path& path, int64_t resume_step) : path_(path) {
    std::string kept;
    if (resume_step > 0 && std::filesystem::exists(path)) {
      for (const auto& record : read_metrics(path)) {
        if (record.step <= resume_step) kept += to_line(record);
      }
    }
    write_file_atomic(path, kept);
    out_.open(path, std::ios::binary | std::ios::app);
  }

  void write(const MetricRecord& record) override {
    out_ << to_line(record) << std::flush;
    if (!out_) throw std::runtime_error(path_.string() + ": cannot be written");
  }

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace

std::unique_ptr<MetricSink> make_json_sink(const std::filesystem::path& path, int64_t resume_step) {
  return std::make_unique<JsonSink>(path, resume_step);
}

std::vector<MetricRecord> read_metrics(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  std::vector<MetricRecord> records;
  int64_t line = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    ++line;
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const auto text = trim(std::string_view(bytes).substr(begin, end - begin));
    begin = end + 1;
    if (text.empty()) continue;
    const Json object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (object.is_discarded()) {
      if (end == bytes.size()) break;  // the process died while it wrote this line
      throw UserError(path.string(), line, "broken JSON; expected one object a line");
    }
    records.push_back(to_record(object, path.string(), line));
  }
  return records;
}

}  // namespace altup
