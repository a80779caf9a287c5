#include "altup/checkpoint/directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/logging.h"
#include "altup/util/text.h"
#include "tests/support/paths.h"
#include "tests/support/user_error.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::refusal;
using testing::TempDir;

void put(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

void save(const fs::path& parent, const std::string& name, const std::string& bytes = "weights",
          bool make_latest = true) {
  CheckpointWriter writer(parent, name);
  put(writer.directory() / "model.safetensors", bytes);
  writer.commit(make_latest);
}

/// Names in a directory, hidden ones included, sorted.
std::vector<std::string> names(const fs::path& directory) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    found.push_back(entry.path().filename().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

class Checkpoints : public ::testing::Test {
 protected:
  Checkpoints() { set_log_level(LogLevel::kOff); }
  ~Checkpoints() override { set_log_level(LogLevel::kInfo); }

  /// Leaves the size as it was.
  void damage(const std::string& name) { put(parent() / name / "model.safetensors", "wEights"); }
  fs::path parent() const { return run_ / "checkpoints"; }

  TempDir run_;
};

// --- Writing
// ---------------------------------------------------------------------------------------------------

TEST_F(Checkpoints, CommitPublishesAndPointsLatest) {
  save(parent(), "step-1");
  EXPECT_THAT(names(parent()), ElementsAre("latest", "step-1"));
  EXPECT_EQ(fs::read_symlink(parent() / "latest"), "step-1");
  EXPECT_EQ(read_file(parent() / "latest" / "model.safetensors"), "weights");
  save(parent(), "step-2");
  EXPECT_EQ(fs::read_symlink(parent() / "latest"), "step-2");
  save(parent(), "step-3", "weights", /*make_latest=*/false);
  EXPECT_EQ(fs::read_symlink(parent() / "latest"), "step-2");
}

TEST_F(Checkpoints, ManifestListsSizesAndHashes) {
  CheckpointWriter writer(parent(), "step-1");
  put(writer.directory() / "b.txt", "abc");
  put(writer.directory() / "a" / "empty", "");
  writer.commit();
  const auto manifest = nlohmann::json::parse(read_file(parent() / "step-1" / "manifest.json"));
  EXPECT_EQ(manifest, nlohmann::json::parse(R"({"version": 1, "files": {
    "a/empty": {"size": 0,
      "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    "b.txt": {"size": 3,
      "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}})"));
  EXPECT_NO_THROW(verify_checkpoint(parent() / "step-1"));
}

TEST_F(Checkpoints, WithoutAManifestADirectoryIsReplacedLikewise) {
  for (const std::string bytes : {"first", "second"}) {
    CheckpointWriter writer(parent(), "export");
    put(writer.directory() / bytes, bytes);
    writer.commit_without_manifest();
    EXPECT_THAT(names(parent()), ElementsAre("export"));
    EXPECT_THAT(names(parent() / "export"), ElementsAre(bytes));
    EXPECT_THROW(writer.commit_without_manifest(), std::logic_error);
  }
}

TEST_F(Checkpoints, WithoutCommitNothingRemains) {
  save(parent(), "step-1");
  {
    CheckpointWriter same(parent(), "step-1");
    CheckpointWriter other(parent(), "step-2");
    put(same.directory() / "model.safetensors", "half");
    put(other.directory() / "model.safetensors", "half");
    EXPECT_EQ(names(parent()).size(), 4U);
  }
  EXPECT_THAT(names(parent()), ElementsAre("latest", "step-1"));
  EXPECT_EQ(read_file(parent() / "step-1" / "model.safetensors"), "weights");
  EXPECT_NO_THROW(verify_checkpoint(parent() / "step-1"));
}

TEST_F(Checkpoints, CommitReplacesAnExistingOneWholly) {
  {
    CheckpointWriter writer(parent(), "step-1");
    put(writer.directory() / "model.safetensors", "old");
    put(writer.directory() / "old.txt", "old");
    writer.commit();
  }
  save(parent(), "step-1", "new");
  EXPECT_THAT(names(parent()), ElementsAre("latest", "step-1"));
  EXPECT_THAT(names(parent() / "step-1"), ElementsAre("manifest.json", "model.safetensors"));
  EXPECT_EQ(read_file(parent() / "step-1" / "model.safetensors"), "new");
  EXPECT_NO_THROW(verify_checkpoint(parent() / "step-1"));
}

TEST_F(Checkpoints, NamesThatEscapeAreRefused) {
  for (const std::string name : {"", ".hidden", "..", "a/b"}) {
    EXPECT_THROW(CheckpointWriter(parent(), name), UserError) << name;
  }
}

TEST_F(Checkpoints, CommittingTwiceIsRefused) {
  CheckpointWriter writer(parent(), "step-1");
  writer.commit();
  EXPECT_THROW(writer.commit(), std::logic_error);
}

// --- Verifying
// -------------------------------------------------------------------------------------------------

TEST_F(Checkpoints, VerifyNamesTheFileThatDiffers) {
  const auto verify = [&] { verify_checkpoint(parent() / "step-1"); };
  save(parent(), "step-1");
  const std::string file = (parent() / "step-1" / "model.safetensors").string();
  damage("step-1");
  EXPECT_THAT(refusal(verify), AllOf(HasSubstr(file), HasSubstr("SHA-256")));
  put(file, "weight");
  EXPECT_THAT(refusal(verify), HasSubstr(file + ": has 6 bytes; expected 7"));
  fs::remove(file);
  EXPECT_THAT(refusal(verify), HasSubstr(file + ": is missing"));
  put(parent() / "step-1" / "manifest.json", "{\"files\": {\"a\": 1}}");
  EXPECT_THAT(refusal(verify), HasSubstr("manifest.json: is no manifest"));
  put(parent() / "step-1" / "manifest.json", "{");
  EXPECT_THAT(refusal(verify), HasSubstr("manifest.json: is no manifest"));
  fs::remove(parent() / "step-1" / "manifest.json");
  EXPECT_THAT(refusal(verify), HasSubstr("is no whole checkpoint"));
}

TEST_F(Checkpoints, VerifyAllowsFilesThatWereAdded) {
  save(parent(), "step-1");
  put(parent() / "step-1" / "notes.txt", "mine");
  EXPECT_NO_THROW(verify_checkpoint(parent() / "step-1"));
}

// --- Finding
// ---------------------------------------------------------------------------------------------------

TEST_F(Checkpoints, ResolveTakesARunItsFolderOrACheckpoint) {
  save(parent(), "step-1");
  save(parent(), "step-2");
  const fs::path newest = fs::canonical(parent() / "step-2");
  EXPECT_EQ(resolve_checkpoint(run_.path()), newest);
  EXPECT_EQ(resolve_checkpoint(parent()), newest);
  EXPECT_EQ(resolve_checkpoint(parent() / "latest"), newest);
  EXPECT_EQ(resolve_checkpoint(parent() / "step-1"), fs::canonical(parent() / "step-1"));
  fs::remove(parent() / "latest");
  EXPECT_EQ(resolve_checkpoint(run_.path()), newest);
}

TEST_F(Checkpoints, ResolveSaysWhatItExpected) {
  EXPECT_THAT(refusal([&] { resolve_checkpoint(run_ / "typo"); }),
              HasSubstr("typo: is not there; expected a checkpoint or a run directory"));
  EXPECT_THAT(refusal([&] { resolve_checkpoint(run_.path()); }), HasSubstr("holds no checkpoint"));
}

TEST_F(Checkpoints, LatestFallsBackToThePreviousWhenTheNewestIsBroken) {
  EXPECT_EQ(latest_checkpoint(parent()), std::nullopt);
  save(parent(), "step-9");
  save(parent(), "step-10");
  save(parent(), "step-100");
  EXPECT_EQ(latest_checkpoint(parent()), parent() / "step-100");
  damage("step-100");
  EXPECT_EQ(latest_checkpoint(parent()), parent() / "step-10");  // by number, not by letters
  fs::remove_all(parent() / "step-100");                         // latest dangles
  EXPECT_EQ(latest_checkpoint(parent()), parent() / "step-10");
  damage("step-10");
  damage("step-9");
  EXPECT_EQ(latest_checkpoint(parent()), std::nullopt);
}

TEST_F(Checkpoints, LatestIsWhereTheLinkPoints) {
  save(parent(), "step-2");
  save(parent(), "step-1");
  EXPECT_EQ(latest_checkpoint(parent()), parent() / "step-1");
}

// --- Kills
// -----------------------------------------------------------------------------------------------------

/// Runs `body` in a child process, which then dies without any cleaning up.
template <class Body>
void run_and_kill(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST_F(Checkpoints, AKilledWriterLeavesTheOldOnesAndIsPruned) {
  save(parent(), "step-1");
  run_and_kill([&] {
    auto* writer = new CheckpointWriter(parent(), "step-2");
    put(writer->directory() / "model.safetensors", "half");
  });
  EXPECT_THAT(names(parent()), ElementsAre(HasSubstr(".tmp-step-2-"), "latest", "step-1"));
  EXPECT_EQ(latest_checkpoint(parent()), parent() / "step-1");
  prune_checkpoints(parent(), 0);
  EXPECT_THAT(names(parent()), ElementsAre("latest", "step-1"));
}

TEST_F(Checkpoints, PruningLeavesALivingWriterAlone) {
  CheckpointWriter writer(parent(), "step-1");
  put(writer.directory() / "model.safetensors", "weights");
  prune_checkpoints(parent(), 1);
  writer.commit();
  EXPECT_NO_THROW(verify_checkpoint(parent() / "step-1"));
}

TEST_F(Checkpoints, PruningPutsBackWhatAKilledReplacementHadSetAside) {
  save(parent(), "step-1");
  fs::rename(parent() / "step-1", parent() / ".replaced-step-1");
  prune_checkpoints(parent(), 0);
  EXPECT_THAT(names(parent()), ElementsAre("latest", "step-1"));
  fs::create_directory(parent() / ".replaced-step-1");  // killed one moment later
  prune_checkpoints(parent(), 0);
  EXPECT_THAT(names(parent()), ElementsAre("latest", "step-1"));
  EXPECT_NO_THROW(verify_checkpoint(parent() / "step-1"));
}

// --- Links and pruning
// -----------------------------------------------------------------------------------------

TEST_F(Checkpoints, LinksMoveInOneStepAndAreRelative) {
  save(parent(), "step-1");
  save(parent(), "step-2");
  point_link_at(parent(), "best", "step-1");
  point_link_at(parent(), "best", "step-2");
  EXPECT_EQ(fs::read_symlink(parent() / "best"), "step-2");
  EXPECT_THAT(names(parent()), ElementsAre("best", "latest", "step-1", "step-2"));
  // The run may be moved as a whole.
  fs::rename(parent(), run_ / "moved");
  EXPECT_NO_THROW(verify_checkpoint(run_ / "moved" / "best"));
}

TEST_F(Checkpoints, PruningKeepsTheNewestByNumber) {
  for (const int step : {9, 10, 100, 20}) save(parent(), str("step-", step));
  prune_checkpoints(parent(), 0);
  EXPECT_EQ(names(parent()).size(), 5U);
  prune_checkpoints(parent(), 2);
  EXPECT_THAT(names(parent()), ElementsAre("latest", "step-100", "step-20"));
}

TEST_F(Checkpoints, PruningNeverRemovesLatestOrBest) {
  for (const int step : {1, 2, 3, 4, 5}) save(parent(), str("step-", step));
  point_link_at(parent(), "best", "step-1");
  point_link_at(parent(), "latest", "step-2");
  prune_checkpoints(parent(), 3);
  EXPECT_THAT(names(parent()), ElementsAre("best", "latest", "step-1", "step-2", "step-5"));
  prune_checkpoints(parent(), 1);
  EXPECT_THAT(names(parent()), ElementsAre("best", "latest", "step-1", "step-2"));
}

TEST_F(Checkpoints, PruningLeavesOtherNamesAlone) {
  for (const int step : {1, 2}) save(parent(), str("step-", step));
  save(parent(), "converted", "weights", /*make_latest=*/false);
  put(parent() / "step-notes" / "a.txt", "mine");
  put(parent() / "step-0", "a file");
  prune_checkpoints(parent(), 1);
  EXPECT_THAT(names(parent()),
              ElementsAre("converted", "latest", "step-0", "step-2", "step-notes"));
  EXPECT_NO_THROW(prune_checkpoints(run_ / "not there", 1));
}

}  // namespace
}  // namespace altup
