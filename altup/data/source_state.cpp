#include "altup/data/source_state.h"

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {

void Fingerprint::add(std::string_view bytes) {
  for (const char byte : bytes) {
    hash_ = (hash_ ^ static_cast<uint8_t>(byte)) * 0x100000001B3ULL;
  }
}

void Fingerprint::add(int64_t number) {
  add(std::string_view(reinterpret_cast<const char*>(&number), sizeof(number)));
}

std::string Fingerprint::hex() const {
  return str(std::hex, hash_);
}

std::string write_state(const nlohmann::json& identity, const nlohmann::json& position) {
  return nlohmann::json{{"identity", identity}, {"position", position}}.dump();
}

nlohmann::json read_state(const std::string& state, const nlohmann::json& identity) {
  const auto saved = nlohmann::json::parse(state, nullptr, /*allow_exceptions=*/false);
  if (!saved.is_object() || !saved.contains("identity") || !saved.contains("position") ||
      !saved["identity"].is_object() || !saved["position"].is_object()) {
    throw UserError("the saved data position is no state of a data source");
  }
  const auto& before = saved["identity"];
  if (before.value("kind", "") != identity.at("kind")) {
    throw UserError(str("the saved data position is of ", before.value("kind", "unknown"),
                        " data; expected one of ", identity.at("kind").get<std::string>(),
                        " data, as this run reads"));
  }
  for (const auto& [key, value] : identity.items()) {
    if (key == "files" && before.contains(key) && before[key] != value) {
      throw UserError(
          "the data files are not those of the checkpoint: one more or less, another name or "
          "another size; expected the same (a line can be mended as long as its file's size "
          "stays)");
    }
    if (!before.contains(key) || before[key] != value) {
      throw UserError(str("the saved data position has ", key, " = ",
                          before.contains(key) ? before[key].dump() : "nothing",
                          ", the data of this run ", value.dump(),
                          "; expected the same data, tokenizer, seed and lengths"));
    }
  }
  return saved["position"];
}

int64_t number_in(const nlohmann::json& position, const char* key) {
  const auto found = position.find(key);
  if (found == position.end() || !found->is_number_integer() || found->get<int64_t>() < 0) {
    throw UserError(
        str("the saved data position has no \"", key, "\"; expected a whole number from 0 up"));
  }
  return found->get<int64_t>();
}

}  // namespace altup
