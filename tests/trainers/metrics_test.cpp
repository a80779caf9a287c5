#include "trainers/metrics.h"
#include "tests/support/user_error.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // posix_openpt
#include <unistd.h>

#include <bit>
#include <cmath>
#include <ctime>
#include <fstream>
#include <functional>
#include <limits>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::refusal;
using testing::TempDir;

MetricRecord train_record(int64_t step, double seconds) {
  return {step,
          "train",
          {{"loss", 3.25},
           {"accuracy", 41.5},
           {"tokens", 1000.0 * static_cast<double>(step)},
           {"tokens_per_second", 12345.6},
           {"learning_rate", 0.01},
           {"gradient_norm", 0.5},
           {"seconds", seconds},
           {"peak_memory_mib", 2048}}};
}

// --- metrics.jsonl
// ----------------------------------------------------------------------------------------------

TEST(JsonSink, WritesOneObjectALineThatReadsBack) {
  const TempDir dir;
  const auto path = dir / "metrics.jsonl";
  const auto sink = make_json_sink(path, 0);
  sink->write({5, "train", {{"loss", 0.1}, {"gradient_norm", std::nan("")}}});
  // Flushed: a reader sees it while the sink lives.
  EXPECT_EQ(read_file(path),
            "{\"step\":5,\"split\":\"train\",\"gradient_norm\":null,\"loss\":0.1}\n");
  sink->write({5, "glue/sst2", {{"accuracy", std::numeric_limits<double>::infinity()}}});
  const auto records = read_metrics(path);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].values.at("loss"), 0.1);
  EXPECT_TRUE(std::isnan(records[0].values.at("gradient_norm")));
  EXPECT_EQ(records[1].split, "glue/sst2");
}

TEST(JsonSink, ResumeCutsOffWhatComesLater) {
  const TempDir dir;
  const auto path = dir / "metrics.jsonl";
  {
    const auto sink = make_json_sink(path, 0);
    for (int64_t step = 1; step <= 4; ++step) sink->write(train_record(step, 1));
  }
  std::ofstream(path, std::ios::app) << R"({"step": 5, "spl)";  // killed while it wrote
  make_json_sink(path, 2)->write(train_record(3, 99));
  const auto records = read_metrics(path);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[1].step, 2);
  EXPECT_EQ(records[2].values.at("seconds"), 99);
  make_json_sink(path, 0);  // a new run
  EXPECT_TRUE(read_metrics(path).empty());
}

TEST(JsonSink, BrokenFilesNameTheLine) {
  const TempDir dir;
  const std::string good = "{\"step\": 1, \"split\": \"train\"}\n";
  const auto broken = dir.write("a.jsonl", good + "{\"step\"\n" + good);
  EXPECT_THAT(refusal([&] { read_metrics(broken); }), HasSubstr("a.jsonl:2: broken JSON"));
  const auto list = dir.write("b.jsonl", good + good + "[1]\n");
  EXPECT_THAT(refusal([&] { read_metrics(list); }), HasSubstr("b.jsonl:3: not an object"));
  const auto text = dir.write("c.jsonl", "{\"step\": 1, \"split\": \"train\", \"loss\": \"x\"}\n");
  EXPECT_THAT(refusal([&] { read_metrics(text); }), HasSubstr("c.jsonl:1: \"loss\""));
  EXPECT_THAT(refusal([&] { read_metrics(dir / "gone"); }), HasSubstr("gone: cannot be read"));
}

// --- TensorBoard
// ------------------------------------------------------------------------------------------------

/// CRC-32C bit by bit, from its definition: apart from the sink's table.
uint32_t slow_crc32c(std::string_view bytes) {
  uint32_t crc = ~0U;
  for (const char c : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool carry = ((crc ^ (static_cast<uint8_t>(c) >> bit)) & 1) != 0;
      crc = (crc >> 1) ^ (carry ? 0x82F63B78U : 0U);
    }
  }
  return ~crc;
}

template <class T>
T little_endian(std::string_view bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value |= static_cast<T>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  return value;
}

void expect_crc(std::string_view bytes, std::string_view stored) {
  const uint32_t crc = slow_crc32c(bytes);
  EXPECT_EQ(little_endian<uint32_t>(stored), ((crc >> 15) | (crc << 17)) + 0xA282EAD8U);
}

/// The records of an event file, their checksums checked.
std::vector<std::string> read_records(std::string_view file) {
  std::vector<std::string> records;
  while (file.size() >= 16) {
    const auto length = static_cast<size_t>(little_endian<uint64_t>(file));
    expect_crc(file.substr(0, 8), file.substr(8, 4));
    records.emplace_back(file.substr(12, length));
    expect_crc(records.back(), file.substr(12 + length, 4));
    file.remove_prefix(16 + length);
  }
  EXPECT_TRUE(file.empty());
  return records;
}

/// The fields of a protobuf message: numbers as their bits, the rest as bytes.
struct ProtoField {
  uint64_t number = 0;
  uint64_t bits = 0;
  std::string bytes;
};

std::vector<ProtoField> decode(std::string_view message) {
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0; !message.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(message.front());
      message.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  std::vector<ProtoField> fields;
  while (!message.empty()) {
    const uint64_t key = varint();
    ProtoField field{key >> 3, 0, ""};
    size_t taken = 0;
    switch (key & 7) {
      case 0:
        field.bits = varint();
        break;
      case 1:
        field.bits = little_endian<uint64_t>(message);
        taken = 8;
        break;
      case 2:
        taken = varint();
        field.bytes = message.substr(0, taken);
        break;
      case 5:
        field.bits = little_endian<uint32_t>(message);
        taken = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return fields;
    }
    message.remove_prefix(taken);
    fields.push_back(std::move(field));
  }
  return fields;
}

TEST(TensorBoardSink, WritesEventsThatDecode) {
  ASSERT_EQ(slow_crc32c("123456789"), 0xE3069283U);  // the check value of CRC-32C
  const TempDir dir;
  {
    const auto sink = make_tensorboard_sink(dir / "tensorboard");
    sink->write({300, "train", {{"loss", 2.5}, {"rate", -0.125}}});
    sink->write({301, "validation", {{"loss", 2.25}}});
  }
  std::vector<fs::path> files(fs::directory_iterator(dir / "tensorboard"), {});
  ASSERT_EQ(files.size(), 1U);
  EXPECT_THAT(files[0].filename().string(), ::testing::StartsWith("events.out.tfevents."));
  const auto records = read_records(read_file(files[0]));
  ASSERT_EQ(records.size(), 4U);

  const auto version = decode(records[0]);
  EXPECT_EQ(version.back().number, 3U);
  EXPECT_EQ(version.back().bytes, "brain.Event:2");
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_NEAR(std::bit_cast<double>(version[0].bits), now, 60);

  const auto start = decode(records[1]);  // step 300, SessionLog{status: START}
  EXPECT_EQ(start[1].bits, 300U);
  EXPECT_EQ(start[2].number, 7U);
  EXPECT_EQ(start[2].bytes, std::string("\x08\x01"));

  const auto train = decode(records[2]);
  EXPECT_EQ(train[1].number, 2U);
  EXPECT_EQ(train[1].bits, 300U);
  ASSERT_EQ(train[2].number, 5U);
  const auto values = decode(train[2].bytes);
  ASSERT_EQ(values.size(), 2U);
  const auto rate = decode(values[1].bytes);
  EXPECT_EQ(rate[0].bytes, "train/rate");
  EXPECT_EQ(rate[1].number, 2U);
  EXPECT_EQ(std::bit_cast<float>(static_cast<uint32_t>(rate[1].bits)), -0.125F);
  EXPECT_EQ(decode(decode(decode(records[3])[2].bytes)[0].bytes)[0].bytes, "validation/loss");
}

// --- console
// ----------------------------------------------------------------------------------------------------

TEST(ConsoleSink, WritesPlainLinesWhereThereIsNoTerminal) {
  ::testing::internal::CaptureStderr();
  {
    const auto sink = make_console_sink(1000);
    sink->write(train_record(100, 50));   // 0.5 s a step: 450 s left
    sink->write(train_record(200, 250));  // 2 s a step since: 1600 s
    sink->write({200, "glue/mrpc", {{"f1", 81.25}, {"seconds", 250}}});
  }
  const auto log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(
      log,
      HasSubstr("step 100/1,000: loss 3.2500, accuracy 41.50 %, 12,346 tokens/s, rate 1.000e-02, "
                "gradient norm 0.500, memory 2,048 MiB, ETA 7:30\n"));
  EXPECT_THAT(log, HasSubstr("step 200/1,000: "));
  EXPECT_THAT(log, HasSubstr("ETA 26:40\n"));
  EXPECT_THAT(log, HasSubstr("step 200/1,000 glue/mrpc: f1 81.25 %\n"));
  EXPECT_THAT(log, Not(HasSubstr("\r")));
}

TEST(ConsoleSink, SurvivesNotANumber) {
  ::testing::internal::CaptureStderr();
  make_console_sink(10)->write(
      {1, "train", {{"loss", std::nan("")}, {"tokens_per_second", std::nan("")}}});
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("loss nan, nan tokens/s"));
}

/// Stands in for a terminal on stderr; says at the end what was written to it.
class Terminal {
 public:
  Terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY)), stderr_(::dup(STDERR_FILENO)) {
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) return;
    const int slave = ::open(::ptsname(master_), O_RDWR | O_NOCTTY);
    if (slave < 0) return;
    ::dup2(slave, STDERR_FILENO);
    ::close(slave);
    works_ = ::isatty(STDERR_FILENO) == 1;
  }
  ~Terminal() {
    restore();
    ::close(master_);
  }
  bool works() const { return works_; }
  std::string written() {
    std::string text(65536, '\0');
    ::fcntl(master_, F_SETFL, O_NONBLOCK);
    const auto n = ::read(master_, text.data(), text.size());
    restore();
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
  }

 private:
  void restore() {
    if (stderr_ < 0) return;
    ::dup2(stderr_, STDERR_FILENO);
    ::close(stderr_);
    stderr_ = -1;
  }
  int master_;
  int stderr_;
  bool works_ = false;
};

TEST(ConsoleSink, KeepsABarBelowTheLogOnATerminal) {
  Terminal terminal;
  if (!terminal.works()) GTEST_SKIP() << "no pseudo-terminal here";
  {
    const auto sink = make_console_sink(1000);
    sink->write(train_record(500, 50));
    log_info("another line");
  }
  const auto screen = terminal.written();
  const std::string bar =
      "[###############---------------] 50.0 %  500/1,000  ETA 0:50  loss 3.2500";
  const size_t first = screen.find(bar);
  ASSERT_NE(first, std::string::npos) << screen;
  const size_t other = screen.find("another line");
  ASSERT_NE(other, std::string::npos);
  // Erased before the line, drawn again after it, erased at the end.
  EXPECT_EQ(screen.compare(first + bar.size(), 4, "\r\x1b[K"), 0);
  const size_t second = screen.find(bar, other);
  ASSERT_NE(second, std::string::npos);
  EXPECT_EQ(screen.substr(second + bar.size()), "\r\x1b[K");
}

}  // namespace
}  // namespace altup
