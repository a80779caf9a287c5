// The model's tree of modules is mirrored into TorchScript modules with the same parameters, and
// each class gets its methods from source text: nothing is traced, so control flow and sizes in the
// file are real. A component of a parameter's name may not be a number there: layers.0 becomes
// layers.layer_0.
#include "altup/models/torchscript.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/script.h>

#include <cctype>
#include <fstream>
#include <map>
#include <stdexcept>

#include "altup/models/evaluation_mode.h"
#include "altup/models/generation.h"
#include "altup/models/torchscript_source.h"
#include "altup/modules/sequence_altup.h"
#include "altup/util/error.h"
#include "altup/util/files.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Script = torch::jit::Module;

// Names of a source text that are neither parameters nor locals: torch.NAME, and altup.NAME.
struct OperatorNames : torch::jit::NativeResolver {
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(
      const std::string& name, torch::jit::GraphFunction& method,
      const torch::jit::SourceRange& place) override {
    if (name == "altup") return std::make_shared<torch::jit::BuiltinModule>("altup");
    return NativeResolver::resolveValue(name, method, place);
  }
};

// Instances of a class share one TorchScript type, as twelve layers share the code of one.
class Mirror {
 public:
  Mirror(const T5Config& config, int64_t valid_vocab, ScriptOperators operators)
      : config_(config),
        sources_(torchscript_sources(config, valid_vocab, operators == ScriptOperators::kFused)) {}

  Script of(const torch::nn::Module& module, const std::string& path) {
    const auto name = class_of(module, path);
    const auto qualified = c10::QualifiedName("__torch__.altup." + name);
    const auto known = unit_->get_class(qualified);
    Script script = known == nullptr ? Script(qualified, unit_) : Script(unit_, known);
    script.register_attribute("training", c10::BoolType::get(), false);
    for (const auto& item : module.named_parameters(/*recurse=*/false)) {
      const auto weight = item.value().detach().to(torch::kCPU, torch::kFloat).contiguous();
      script.register_parameter(item.key(), weight, /*is_buffer=*/false);
    }
    if (name == "RelativeBias") {
      script.register_buffer("buckets", bucket_table(/*bidirectional=*/is_encoder(path)));
    }
    for (const auto& child : module.named_children()) {
      const bool is_number = std::isdigit(static_cast<unsigned char>(child.key().front())) != 0;
      const auto child_name = (is_number ? "layer_" : "") + child.key();
      script.register_module(child_name, of(*child.value(), path + "." + child_name));
    }
    const auto source = sources_.find(name);
    if (known == nullptr && source != sources_.end()) {
      script.define(source->second, std::make_shared<OperatorNames>());
    }
    return script;
  }

 private:
  static bool is_encoder(const std::string& path) { return path.starts_with("model.encoder"); }

  // The lists of layers hold different members, and are named by their place.
  std::string class_of(const torch::nn::Module& module, const std::string& path) const {
    if (module.as<T5Impl>() != nullptr) return "T5";
    if (module.as<EncoderImpl>() != nullptr) return "Encoder";
    if (module.as<DecoderImpl>() != nullptr) return "Decoder";
    if (const auto* layer = module.as<EncoderLayerImpl>(); layer != nullptr) {
      return layer->mixture.is_empty() ? "EncoderLayer" : "MixtureEncoderLayer";
    }
    if (const auto* layer = module.as<DecoderLayerImpl>(); layer != nullptr) {
      return layer->mixture.is_empty() ? "DecoderLayer" : "MixtureDecoderLayer";
    }
    if (module.as<MixtureOfExpertsImpl>() != nullptr) {
      const bool chosen = is_encoder(path) && config_.moe.router == Router::kExpertChoice;
      return chosen ? "ExpertChoiceMixture" : "SwitchMixture";
    }
    if (module.as<ExpertsImpl>() != nullptr) return "Experts";
    if (module.as<AttentionImpl>() != nullptr) return "Attention";
    if (module.as<RelativeBiasImpl>() != nullptr) return "RelativeBias";
    if (module.as<FeedForwardImpl>() != nullptr) return "FeedForward";
    if (const auto* update = module.as<AltUpUpdateImpl>(); update != nullptr) {
      return update->router.is_empty() ? "AltUpUpdate" : "TokenAltUpUpdate";
    }
    if (module.as<SequenceUpdateImpl>() != nullptr) return "SequenceUpdate";
    if (module.as<RmsNormImpl>() != nullptr) return "RmsNorm";
    if (module.as<LinearImpl>() != nullptr) return "Linear";
    if (module.as<torch::nn::EmbeddingImpl>() != nullptr) return "Embedding";
    if (module.as<torch::nn::ModuleListImpl>() != nullptr) {
      const auto stack = is_encoder(path) ? "Encoder" : "Decoder";
      return altup::str(stack, path.ends_with(".altup") ? "Updates" : "Layers");
    }
    TORCH_CHECK(false, "TorchScript export does not know the module ", module.name(), " at ", path);
  }

  // Buckets of the distances −max … max. [2 max + 1]
  torch::Tensor bucket_table(bool bidirectional) const {
    const int64_t max = config_.relative_max_distance;
    return relative_buckets(-max, 2 * max + 1,
                            {.num_heads = config_.num_heads,
                             .buckets = config_.relative_buckets,
                             .max_distance = max,
                             .bidirectional = bidirectional});
  }

  T5Config config_;
  std::map<std::string, std::string> sources_;
  std::shared_ptr<torch::jit::CompilationUnit> unit_ =
      std::make_shared<torch::jit::CompilationUnit>();
};

struct CheckBatch {
  torch::Tensor input_ids;          // [B, S]
  torch::Tensor mask;               // [B, S] bool
  torch::Tensor decoder_input_ids;  // [B, T]

  CheckBatch to(const torch::Device& device) const {
    return {input_ids.to(device), mask.to(device), decoder_input_ids.to(device)};
  }
};

// Rows of unequal length, the first whole.
CheckBatch make_check_batch(int64_t batch, int64_t input_length, int64_t target_length,
                            int64_t vocabulary) {
  constexpr uint64_t kSeed = 20;  // its own generator: an export changes no other random number
  auto generator = at::detail::createCPUGenerator(kSeed);
  const auto random_ids = [&](int64_t length) {
    return torch::randint(vocabulary, {batch, length}, generator, torch::kInt64);
  };
  const auto positions = torch::arange(input_length).unsqueeze(0);  // [1, S]
  const auto lengths = input_length - torch::arange(batch).unsqueeze(1) * (input_length / batch);
  return {random_ids(input_length), positions < lengths, random_ids(target_length)};
}

// Two implementations may choose differently where two scores are equal but for rounding, so at the
// first difference of a row the model's own scores of the two ids decide. `batch` is on the model's
// device.
void check_generated(T5& model, const CheckBatch& batch, const torch::Tensor& written,
                     const GenerationConfig& generation, double tolerance) {
  const auto expected = generate(model, batch.input_ids, batch.mask, generation);
  for (int64_t b = 0; b < written.size(0); ++b) {
    const auto& row = expected.outputs[static_cast<size_t>(b)].front().ids;
    for (int64_t i = 0; i < static_cast<int64_t>(row.size()); ++i) {
      const int64_t id = row[static_cast<size_t>(i)];
      const int64_t found = i < written.size(1) ? written[b][i].item<int64_t>() : -1;
      if (found == id) continue;
      const auto start = torch::tensor(row, batch.input_ids.options()).narrow(0, 0, i + 1);
      const auto scores =
          model->forward(batch.input_ids.narrow(0, b, 1), batch.mask.narrow(0, b, 1),
                         shift_right(start.unsqueeze(0)))[0][i];  // [V]
      if (found >= 0 && (scores[id] - scores[found]).abs().item<double>() <= tolerance) break;
      throw std::runtime_error(altup::str("the exported file generates id ", found, " at position ",
                                          i, " of row ", b, ", the model ", id));
    }
  }
}

void check_against(T5& model, Script& script, int64_t valid_vocab) {
  // Rounding of a deep fp32 network; a forgotten mask or bias is orders of magnitude above it.
  constexpr double kRelative = 1e-4;
  struct Sizes {
    int64_t batch, input_length, target_length;
  };
  // The second is longer than the cache's first size and than the buckets' exact range.
  for (const Sizes sizes : {Sizes{3, 11, 7}, Sizes{1, 40, 20}}) {
    const auto batch = make_check_batch(sizes.batch, sizes.input_length, sizes.target_length,
                                        model->config().vocab_size);
    const auto ours = batch.to(model->shared->weight.device());
    const auto expected = model->forward(ours.input_ids, ours.mask, ours.decoder_input_ids).cpu();
    const auto written =
        script.forward({batch.input_ids, batch.mask, batch.decoder_input_ids}).toTensor();
    const double range = expected.abs().max().item<double>();
    const double difference = (written - expected).abs().max().item<double>();
    const double tolerance = kRelative * range;
    if (!(difference <= tolerance)) {
      throw std::runtime_error(altup::str("the exported file's logits differ from the model's by ",
                                          difference, ", where the largest is ", range));
    }
    const auto generate = script.get_method("generate");
    const auto ids =
        generate({batch.input_ids, batch.mask.to(torch::kInt64), sizes.target_length}).toTensor();
    check_generated(model, ours, ids,
                    {.max_new_tokens = sizes.target_length, .valid_vocab = valid_vocab}, tolerance);
  }
}

// Gone with the scope, unless it got its name.
struct TemporaryFile {
  fs::path path;
  ~TemporaryFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

}  // namespace

void export_torchscript(T5& model, const fs::path& path, int64_t valid_vocab,
                        ScriptOperators operators) {
  const auto& config = model->config();
  TORCH_CHECK(valid_vocab >= 0 && valid_vocab <= config.vocab_size, "valid_vocab is ", valid_vocab,
              "; expected 0 to ", config.vocab_size);
  const TemporaryFile temporary{path.string() + ".tmp"};
  if (fs::is_directory(path) || !std::ofstream(temporary.path)) {
    throw UserError(path.string(), "cannot be written; expected a file in an existing directory");
  }
  torch::NoGradGuard no_grad;
  EvaluationMode evaluation(*model);
  const int64_t valid = valid_vocab > 0 ? valid_vocab : config.vocab_size;
  Mirror(config, valid, operators)
      .of(*model, "model")
      .save(temporary.path.string(),
            {{"config.json", to_json(config)}, {"valid_vocab", std::to_string(valid)}});
  auto written = torch::jit::load(temporary.path.string(), torch::kCPU);
  check_against(model, written, valid);
  sync_path(temporary.path);
  fs::rename(temporary.path, path);
}

}  // namespace altup
