#include "trainers/run_config.h"
#include "tests/support/user_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <fstream>

#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"
#include "tests/support/paths.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::refusal;
using ::testing::StartsWith;
using testing::TempDir;

/// What load_run_config says against `toml` in a file run.toml; "" where it has nothing to say. The
/// directory before "run.toml" is left out.
std::string complaint(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  const TempDir dir;
  const auto file = dir.write("run.toml", toml);
  try {
    load_run_config({file}, overrides);
  } catch (const UserError& error) {
    const std::string message = error.what();
    const size_t at = message.find(dir.path().string() + "/");
    return at == std::string::npos ? message : message.substr(dir.path().string().size() + 1);
  }
  return "";
}

RunConfig load(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  const TempDir dir;
  return load_run_config({dir.write("run.toml", toml)}, overrides);
}

/// Runs `body` in `directory` as the working directory.
template <class Body>
void in_directory(const fs::path& directory, Body&& body) {
  const auto before = fs::current_path();
  fs::current_path(directory);
  body();
  fs::current_path(before);
}

TEST(RunConfig, ReadsEveryTypeOfValue) {
  const auto config = load(
      "[model]\ntie_embeddings = true\nnum_heads = 3\n"
      "[data]\ntrain = [\"a.txt\", \"b.txt\"]\nnoise_density = 0.25\nmean_span_length = 4\n"
      "target_length = 0\n"
      "[task]\nsplit = \"dev\"\n[train]\nprecision = \"bf16\"\n[runtime]\nkernels = "
      "\"reference\"\n");
  EXPECT_TRUE(config.model.tie_embeddings);
  EXPECT_EQ(config.model.num_heads, 3);
  EXPECT_THAT(config.data.train, ElementsAre("a.txt", "b.txt"));
  EXPECT_EQ(config.data.noise_density, 0.25);
  EXPECT_EQ(config.data.mean_span_length, 4.0);  // an integer where a fraction is asked for
  EXPECT_EQ(config.task.split, "dev");
  EXPECT_EQ(config.train.precision, Precision::kBf16);
  EXPECT_EQ(config.runtime.kernels, Kernels::kReference);
}

TEST(RunConfig, OverridesWinAndTakeBareWords) {
  const auto config = load("[train]\nsteps = 5\nprecision = \"fp32\"\n",
                           {"train.steps=1_000", "train.precision=bf16", "train.z_loss = 1e-3",
                            "data.train=[\"x y.txt\", \"z\"]", "data.validation=one.txt",
                            "train.init_from=2024", "model.tie_embeddings=true"});
  EXPECT_EQ(config.train.steps, 1000);
  EXPECT_EQ(config.train.precision, Precision::kBf16);
  EXPECT_EQ(config.train.z_loss, 1e-3);
  EXPECT_THAT(config.data.train, ElementsAre("x y.txt", "z"));
  EXPECT_THAT(config.data.validation, ElementsAre("one.txt"));
  EXPECT_EQ(config.train.init_from, "2024");  // a name, though it reads as a number
  EXPECT_TRUE(config.model.tie_embeddings);
  EXPECT_EQ(config.sources.at("train.steps"), "--set train.steps=1_000");
}

TEST(RunConfig, ExtendsIsRelativeAndLaterWins) {
  const TempDir dir;
  dir.write("models/a.toml", "[train]\nsteps = 1\nseed = 1\nlog_every = 1\nsave_every = 1\n");
  dir.write("models/b.toml", "extends = \"a.toml\"\n[train]\nseed = 2\nlog_every = 2\n");
  dir.write("models/c.toml", "[train]\nlog_every = 3\n");
  const auto first = dir.write("runs/run.toml",
                               "extends = [\"../models/b.toml\", \"../models/c.toml\"]\n"
                               "[train]\nsteps = 9\n");
  const auto second = dir.write("last.toml", "[train]\nsave_every = 7\n");
  const auto train = load_run_config({first, second}, {}).train;
  EXPECT_EQ(train.steps, 9);       // the file itself, over what it extends
  EXPECT_EQ(train.seed, 2);        // b over a, which it extends
  EXPECT_EQ(train.log_every, 3);   // c over b, as it is named later
  EXPECT_EQ(train.save_every, 7);  // the second file over the first
}

TEST(RunConfig, ExtendsErrorsNameTheLine) {
  const TempDir dir;
  const auto a = dir.write("a.toml", "extends = \"b.toml\"\n");
  dir.write("b.toml", "# b\nextends = [\n  \"a.toml\"]\n");
  const auto circle = refusal([&] { load_run_config({a}, {}); });
  EXPECT_THAT(circle, HasSubstr("b.toml:3: extends \"a.toml\""));
  EXPECT_THAT(circle, HasSubstr("circle"));
  EXPECT_THAT(complaint("\nextends = \"gone.toml\"\n"),
              StartsWith("run.toml:2: extends \"gone.toml\""));
  EXPECT_THAT(complaint("extends = 3\n"),
              StartsWith("run.toml:1: extends is an integer; expected"));
  EXPECT_THAT(refusal([&] { load_run_config({dir / "none.toml"}, {}); }),
              HasSubstr("none.toml: cannot be read"));
}

TEST(RunConfig, SameFileTwiceIsNoCircle) {
  const TempDir dir;
  dir.write("base.toml", "[train]\nsteps = 4\n");
  dir.write("left.toml", "extends = \"base.toml\"\n");
  dir.write("right.toml", "extends = \"base.toml\"\n");
  const auto top = dir.write("top.toml", "extends = [\"left.toml\", \"right.toml\"]\n");
  EXPECT_EQ(load_run_config({top}, {}).train.steps, 4);
}

TEST(RunConfig, UnknownKeysAreRefusedWithTheNearest) {
  EXPECT_EQ(complaint("[train]\n\nstepps = 3\n"),
            "run.toml:3: unknown key \"stepps\" in [train]; did you mean \"steps\"?");
  EXPECT_EQ(complaint("[trian]\nsteps = 3\n"),
            "run.toml:1: unknown section [trian]; did you mean [train]?");
  EXPECT_EQ(complaint("[train]\nnum_heads = 3\n"),
            "run.toml:2: unknown key \"num_heads\" in [train]; it belongs to [model]");
  EXPECT_THAT(complaint("[tokenizer]\nxyzxyzxyz = 3\n"),
              EndsWith("expected one of model, sentinels"));
  EXPECT_EQ(complaint("[train.steps]\nx = 1\n"),
            "run.toml:1: train.steps is a table; expected an integer of at least 1");
  EXPECT_THAT(complaint("steps = 3\n"),
              StartsWith("run.toml:1: steps is an integer outside of any"));
  EXPECT_EQ(complaint("", {"train.stepps=3"}),
            "--set train.stepps=3: unknown key \"stepps\" in [train]; did you mean \"steps\"?");
  EXPECT_THAT(complaint("", {"steps=3"}), StartsWith("--set steps=3: expected section.key=value"));
  EXPECT_THAT(complaint("", {"train.steps"}),
              StartsWith("--set train.steps: expected section.key"));
}

TEST(RunConfig, WrongTypesAreRefused) {
  EXPECT_EQ(complaint("[train]\nsteps = \"many\"\n"),
            "run.toml:2: train.steps is \"many\"; expected an integer of at least 1");
  EXPECT_EQ(complaint("[train]\nsteps = 2.5\n"),
            "run.toml:2: train.steps is 2.5; expected an integer of at least 1");
  EXPECT_EQ(complaint("[model]\ntie_embeddings = 1\n"),
            "run.toml:2: model.tie_embeddings is 1; expected true or false");
  EXPECT_EQ(complaint("[task]\nsplit = 1\n"), "run.toml:2: task.split is 1; expected a string");
  EXPECT_EQ(complaint("[data]\ntrain = [\"a\", 1]\n"),
            "run.toml:2: data.train is a list that holds an integer; expected a list of strings");
  EXPECT_EQ(complaint("[train]\nsteps = 2020-01-01\n"),
            "run.toml:2: train.steps is a date; expected an integer of at least 1");
  EXPECT_EQ(complaint("", {"train.steps=abc"}),
            "--set train.steps=abc: train.steps is \"abc\"; expected an integer of at least 1");
}

TEST(RunConfig, RangesAndWordsAreChecked) {
  EXPECT_EQ(complaint("[train]\nsteps = 0\n"),
            "run.toml:2: train.steps is 0; expected an integer of at least 1");
  EXPECT_EQ(complaint("[altup]\nblocks = 65\n"),
            "run.toml:2: altup.blocks is 65; expected an integer between 1 and 64");
  EXPECT_EQ(complaint("[model]\ndropout = 1.5\n"),
            "run.toml:2: model.dropout is 1.5; expected a number between 0 and 0.999");
  EXPECT_THAT(complaint("[model]\ndropout = nan\n"), HasSubstr("expected a number between"));
  EXPECT_THAT(complaint("[train]\ngradient_clip = inf\n"),
              HasSubstr("expected a number of at least 0"));
  EXPECT_EQ(
      complaint("[train]\nprecision = \"fp16\"\n"),
      "run.toml:2: train.precision is \"fp16\"; expected one of \"auto\", \"fp32\", \"bf16\"");
  RunConfig made;
  made.train.steps = 0;  // in memory too
  EXPECT_THAT(refusal([&] { made.validate(); }), StartsWith("train.steps is 0"));
}

TEST(RunConfig, BrokenTomlNamesTheLine) {
  EXPECT_THAT(complaint("[train]\nsteps = \n"), StartsWith("run.toml:2: broken TOML: "));
  EXPECT_THAT(complaint("[train]\nseed = 1\nseed = 2\n"), StartsWith("run.toml:3: broken TOML: "));
  EXPECT_EQ(complaint("[train]\nsteps = \n").find('\n'), std::string::npos);
}

TEST(RunConfig, ChecksBetweenKeysNameThePlaceOfOne) {
  EXPECT_EQ(complaint("[train]\nbatch_size = 12\nmicro_batch_size = 5\n"),
            "run.toml:3: train.micro_batch_size is 5; expected a divisor of train.batch_size, 12");
  EXPECT_THAT(complaint("[train]\nbatch_size = 12\n", {"train.micro_batch_size=24"}),
              StartsWith("--set train.micro_batch_size=24: train.micro_batch_size is 24"));
  // The key at fault has its default; the place of the other one helps more than none.
  for (const std::string schedule : {"linear", "constant"}) {
    EXPECT_THAT(complaint("[optimizer]\nschedule=\"" + schedule +
                          "\"\nlearning_rate=1e-3\n[train]\nsteps = 10\n"),
                StartsWith("run.toml:5: optimizer.warmup_steps is 10000; expected fewer"));
  }
  EXPECT_THAT(complaint("[model]\ntie_embeddings = true\n[altup]\nvariant = \"sum\"\n"),
              StartsWith("run.toml:2: model.tie_embeddings is true"));
  EXPECT_THAT(complaint("[model]\nrelative_buckets = 33\n"),
              StartsWith("run.toml:2: model.relative_b"));
  EXPECT_THAT(complaint("[data]\ntarget_length = 3\n"),
              StartsWith("run.toml:2: data.target_length"));
}

TEST(RunConfig, SizeStandsForItsKeys) {
  EXPECT_EQ(load("[model]\nsize = \"base\"\n").model.d_ff, 2048);
  // In one file explicit keys win, whatever the order of lines.
  EXPECT_EQ(load("[model]\nd_model = 96\nsize = \"base\"\n").model.d_model, 96);
  EXPECT_EQ(load("", {"model.d_model=96", "model.size=base"}).model.d_model, 96);
  // A later file wins over an earlier one, whether it says `size` or the key itself.
  const TempDir dir;
  const auto wide =
      dir.write("wide.toml", "[model]\nsize = \"tiny\"\nd_model = 96\ndropout = 0.5\n");
  const auto base = dir.write("base.toml", "[model]\nsize = \"base\"\n");
  const auto later = load_run_config({wide, base}, {}).model;
  EXPECT_EQ(later.d_model, 768);
  EXPECT_EQ(later.num_heads, 12);
  EXPECT_EQ(later.dropout, 0.5);  // not among what a size decides
  const auto earlier = load_run_config({base, wide}, {}).model;
  EXPECT_EQ(earlier.d_model, 96);
  EXPECT_EQ(earlier.num_heads, 4);
}

TEST(RunConfig, PathsAreFromTheWorkingDirectoryElseFromTheFile) {
  const TempDir dir;
  dir.write("configs/beside.txt", "");
  dir.write("configs/books/a.txt", "");
  dir.write("both.txt", "");
  dir.write("configs/both.txt", "");
  const auto file = dir.write("configs/run.toml",
                              "[tokenizer]\nmodel = \"beside.txt\"\n"
                              "[data]\ntrain = [\"books/*.txt\", \"both.txt\", \"nowhere.txt\"]\n");
  in_directory(dir.path(), [&] {
    const auto config = load_run_config({"configs/run.toml"}, {"data.validation=beside.txt"});
    EXPECT_EQ(config.tokenizer.model, "configs/beside.txt");
    EXPECT_THAT(config.data.train, ElementsAre("configs/books/*.txt", "both.txt", "nowhere.txt"));
    EXPECT_THAT(config.data.validation, ElementsAre("beside.txt"));  // --set belongs to no file
  });
}

/// A config in which no key has its default.
RunConfig unusual(Variant variant) {
  RunConfig config;
  config.model.apply_size(ModelSize::kBase);
  config.model.d_model = 97;
  config.model.dropout = 0.1;
  config.model.norm_epsilon = 1.0000000000000002e-6;
  config.model.altup.variant = variant;
  config.model.altup.blocks = 3;
  config.model.altup.block_selection = BlockSelection::kSame;
  config.model.altup.init = CoefficientInit::kActive;
  config.model.altup.cross_attention = CrossAttentionWidth::kSummed;
  config.tokenizer.model = "a \"quoted\" \\ path\twith\x01 ü.model";
  config.data.train = {"a.txt", "b#c.txt", ""};
  config.data.noise_density = 1.0 / 3.0;
  config.data.mean_span_length = 2.0;
  config.data.target_length = 0;
  config.task.names = {"glue/sst2"};
  config.train.seed = 9007199254740993;  // not a double
  config.train.precision = Precision::kFp32;
  config.train.z_loss = 1e-300;
  config.train.gradient_clip = 1e22;
  config.train.micro_batch_size = 64;
  config.train.activation_checkpointing = true;
  config.optimizer.schedule = Schedule::kCosine;
  config.optimizer.learning_rate = 0.1;
  config.runtime.threads = 2;
  return config;
}

TEST(RunConfig, WrittenRunReadsBackToTheSameValues) {
  for (const auto variant : {Variant::kNone, Variant::kAltUp, Variant::kRecycled, Variant::kSum}) {
    const auto config = unusual(variant);
    const auto again = load(to_toml(config));
    EXPECT_EQ(again.model, config.model);
    EXPECT_EQ(again.tokenizer.model, config.tokenizer.model);
    EXPECT_EQ(again.data.train, config.data.train);
    EXPECT_EQ(again.train.seed, config.train.seed);
    for (const auto& [a, b] : {std::pair{again.data.noise_density, config.data.noise_density},
                               {again.data.mean_span_length, config.data.mean_span_length},
                               {again.train.z_loss, config.train.z_loss},
                               {again.train.gradient_clip, config.train.gradient_clip}}) {
      EXPECT_EQ(std::bit_cast<uint64_t>(a), std::bit_cast<uint64_t>(b)) << a << " against " << b;
    }
    EXPECT_EQ(resolved_values(again), resolved_values(config));
  }
}

TEST(RunConfig, WrittenRunIsReadable) {
  const auto toml = to_toml(RunConfig{});
  EXPECT_THAT(toml, StartsWith("[model]\nsize = \"small\"  # fills the keys below"));
  EXPECT_THAT(toml, HasSubstr("\n\n[train]\nsteps = 500000  # updates\n"));
  EXPECT_THAT(toml, HasSubstr("learning_rate = 1.0  #"));
  EXPECT_THAT(toml, HasSubstr("auto | fp32 | bf16\n"));
}

TEST(RunConfig, CommandsCheckWhatTheyNeed) {
  const TempDir dir;
  const auto text = dir.write("text.txt", "").string();
  const auto pre = [&](const std::string& toml) {
    const auto config = load(toml);
    return refusal([&] { config.validate_pretraining(); });
  };
  const auto tune = [&](const std::string& toml) {
    const auto config = load(toml);
    return refusal([&] { config.validate_finetuning(); });
  };
  const std::string tokenizer = "[tokenizer]\nmodel = \"" + text + "\"\n";
  const std::string data = "[data]\ntrain = [\"" + text + "\"]\n";
  const std::string task = "[task]\nnames = [\"squad\"]\ndata = \"" + dir.path().string() + "\"\n";
  EXPECT_EQ(pre(tokenizer + data), "");
  EXPECT_EQ(tune(tokenizer + task), "");
  EXPECT_EQ(tune(task + "[train]\ninit_from = \"" + dir.path().string() + "\"\n"), "");
  EXPECT_THAT(pre(tokenizer), StartsWith("data.train is not set"));
  EXPECT_THAT(pre(data), StartsWith("tokenizer.model is not set"));
  EXPECT_THAT(pre(tokenizer + "[data]\ntrain = [\"gone/*.txt\"]\n"),
              HasSubstr("run.toml:4: data.train is \"gone/*.txt\", which names no file"));
  EXPECT_THAT(pre(tokenizer + data + task), HasSubstr("run.toml:6: task.names is set"));
  EXPECT_THAT(tune(tokenizer), StartsWith("task.names is not set"));
  EXPECT_THAT(tune(tokenizer + data + task), HasSubstr("run.toml:4: data.train is set"));
  const auto small = load("[model]\nvocab_size = 100\n");
  EXPECT_THAT(refusal([&] { small.validate_vocabulary(101); }),
              HasSubstr("run.toml:2: model.vocab_size is 100; expected at least 101"));
  EXPECT_EQ(refusal([&] { small.validate_vocabulary(100); }), "");
}

TEST(RunConfig, EveryConfigOfTheRepositoryLoads) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator("configs")) {
    if (entry.path().extension() != ".toml") continue;
    const auto folder = entry.path().parent_path().filename();
    if (folder == "tasks" || folder == "experiments") continue;  // no runs: tests of their own
    ++count;
    EXPECT_EQ(refusal([&] { load_run_config({entry.path()}, {}); }), "");
  }
  EXPECT_GE(count, 15);
  const auto run = load_run_config({"configs/runs/pretrain_paper.toml", "configs/models/t5_xl.toml",
                                    "configs/altup/altup_k4.toml"},
                                   {});
  EXPECT_EQ(run.model.size, ModelSize::kXl);
  EXPECT_EQ(run.model.d_model, 2048);
  EXPECT_EQ(run.model.num_blocks(), 4);
  const auto tune = load_run_config({"configs/runs/finetune_sst2.toml"}, {});
  EXPECT_EQ(tune.model.dropout, 0.1);  // from finetune_paper.toml
  EXPECT_EQ(tune.train.batch_size, 64);
}

/// docs/configuration.md holds the tables of all keys as the program has them. With
/// ALTUP_UPDATE_GOLDEN=1 they are written anew.
TEST(RunConfig, DocumentationHoldsTheTablesOfAllKeys) {
  const std::string path = "docs/configuration.md";
  const std::string begin = "<!-- keys: generated, see tests/trainers/run_config_test.cpp -->\n";
  const std::string end = "<!-- end of keys -->";
  const std::string page = read_file(path);
  const size_t from = page.find(begin);
  const size_t to = page.find(end);
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos);
  const std::string wanted = begin + "\n" + key_tables() + "\n";
  if (std::getenv("ALTUP_UPDATE_GOLDEN") != nullptr) {
    write_file_atomic(path, page.substr(0, from) + wanted + page.substr(to));
  } else {
    EXPECT_EQ(page.substr(from, to - from), wanted)
        << "run ALTUP_UPDATE_GOLDEN=1 build/test_trainers --gtest_filter=RunConfig.Doc*";
  }
}

TEST(RunConfig, KnownKeysAreThoseOfTheTables) {
  const auto keys = known_keys();
  const auto tables = key_tables();
  for (const auto& key : keys) {
    EXPECT_THAT(tables, HasSubstr("| `" + key.substr(key.find('.') + 1) + "` |"));
  }
  EXPECT_THAT(keys, ::testing::IsSupersetOf({"model.size", "altup.blocks", "runtime.kernels"}));
}

}  // namespace
}  // namespace altup
