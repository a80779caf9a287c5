// TensorBoard event files, written by hand: three protobuf messages do not justify a dependency on
// protobuf.
//
//   file   = record*
//   record = u64 length | u32 mask(crc32c(length)) | bytes | u32 mask(crc32c(bytes)) (little
//   endian) Event  = 1: double wall_time, 2: int64 step, 3: string file_version | 5: Summary | 7:
//   SessionLog Summary = 1: Value*,  Value = 1: string tag, 2: float simple_value,  SessionLog = 1:
//   status (START = 1)
#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <fstream>
#include <stdexcept>

#include "altup/util/text.h"
#include "trainers/metrics.h"

namespace altup {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    table[byte] = crc;
  }
  return table;
}

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_crc_table();
  uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xFF];
  return ~crc;
}

/// The format stores checksums rotated and shifted, so that a checksum of data that holds checksums
/// stays useful.
uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8U;
}

template <class T>
void append_little_endian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_key(std::string& out, uint64_t field, WireType type) {
  append_varint(out, field << 3 | type);
}

void append_bytes(std::string& out, uint64_t field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

/// An Event but for what it is about.
std::string event(int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string out;
  append_key(out, 1, kFixed64);
  append_little_endian(out, std::bit_cast<uint64_t>(std::chrono::duration<double>(now).count()));
  append_key(out, 2, kVarint);
  append_varint(out, static_cast<uint64_t>(step));
  return out;
}

std::string summary_value(const std::string& tag, double number) {
  std::string out;
  append_bytes(out, 1, tag);
  append_key(out, 2, kFixed32);
  append_little_endian(out, std::bit_cast<uint32_t>(static_cast<float>(number)));
  return out;
}

/// TensorBoard reads the time out of the name and takes the rest as it is.
std::string file_name() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return str("events.out.tfevents.", std::chrono::duration_cast<std::chrono::seconds>(now).count(),
             ".", host.data(), ".", ::getpid());
}

class TensorBoardSink : public MetricSink {
 public:
  explicit TensorBoardSink(const std::filesystem::path& directory)
      : path_(directory / file_name()) {
    std::filesystem::create_directories(directory);
    out_.open(path_, std::ios::binary | std::ios::app);
    std::string version = event(0);
    append_bytes(version, 3, "brain.Event:2");
    write_record(version);
  }

  void write(const MetricRecord& record) override {
    if (!started_) start(record.step);
    std::string summary;
    for (const auto& [name, value] : record.values) {
      append_bytes(summary, 1, summary_value(record.split + "/" + name, value));
    }
    std::string bytes = event(record.step);
    append_bytes(bytes, 5, summary);
    write_record(bytes);
  }

 private:
  /// Tells TensorBoard to forget what an earlier session wrote at this step and after: this one has
  /// resumed before.
  void start(int64_t step) {
    started_ = true;
    std::string status;
    append_key(status, 1, kVarint);
    append_varint(status, 1);
    std::string bytes = event(step);
    append_bytes(bytes, 7, status);
    write_record(bytes);
  }

  void write_record(std::string_view bytes) {
    std::string length;
    append_little_endian(length, static_cast<uint64_t>(bytes.size()));
    std::string record = length;
    append_little_endian(record, masked_crc(length));
    record += bytes;
    append_little_endian(record, masked_crc(bytes));
    out_ << record << std::flush;
    if (!out_) throw std::runtime_error(path_.string() + ": cannot be written");
  }

  std::filesystem::path path_;
  std::ofstream out_;
  bool started_ = false;
};

}  // namespace

std::unique_ptr<MetricSink> make_tensorboard_sink(const std::filesystem::path& directory) {
  return std::make_unique<TensorBoardSink>(directory);
}

}  // namespace altup
