// What a model is made of: the dense T5 underneath ([model]), how its tokens are widened ([altup])
// and its mixtures of experts ([moe]).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "altup/util/fields.h"

namespace altup {

enum class ModelSize { kCustom, kTiny, kSmall, kBase, kLarge, kXl };
template <>
struct EnumNames<ModelSize> {
  static constexpr std::array<std::pair<std::string_view, ModelSize>, 6> kNames = {
      {{"tiny", ModelSize::kTiny},
       {"small", ModelSize::kSmall},
       {"base", ModelSize::kBase},
       {"large", ModelSize::kLarge},
       {"xl", ModelSize::kXl},
       {"custom", ModelSize::kCustom}}};
};

enum class FeedForwardKind { kGatedGelu, kRelu };
template <>
struct EnumNames<FeedForwardKind> {
  static constexpr std::array<std::pair<std::string_view, FeedForwardKind>, 2> kNames = {
      {{"gated_gelu", FeedForwardKind::kGatedGelu}, {"relu", FeedForwardKind::kRelu}}};
};

/// How the token representation is widened (AltUp paper, sections 3 and 4), or how the encoder's
/// sequence is shortened (section 4.2 and its baselines): docs/sequence_altup.md.
enum class Variant { kNone, kAltUp, kRecycled, kSum, kSequence, kStrideSkip, kAveragePool };
template <>
struct EnumNames<Variant> {
  static constexpr std::array<std::pair<std::string_view, Variant>, 7> kNames = {
      {{"none", Variant::kNone},
       {"altup", Variant::kAltUp},
       {"recycled", Variant::kRecycled},
       {"sum", Variant::kSum},
       {"sequence", Variant::kSequence},
       {"stride_skip", Variant::kStrideSkip},
       {"average_pool", Variant::kAveragePool}}};
};

/// Which block layer i computes: i mod K, or always block 0 (paper, section 3.1).
enum class BlockSelection { kAlternating, kSame };
template <>
struct EnumNames<BlockSelection> {
  static constexpr std::array<std::pair<std::string_view, BlockSelection>, 2> kNames = {
      {{"alternating", BlockSelection::kAlternating}, {"same", BlockSelection::kSame}}};
};

/// Start of the coefficients: kIdentity is p = I, g = 1, equal to dense at the start; kActive is p
/// = I, g = 1 for the active block and 0 for the others, so that the blocks differ from the first
/// step.
enum class CoefficientInit { kIdentity, kActive };
template <>
struct EnumNames<CoefficientInit> {
  static constexpr std::array<std::pair<std::string_view, CoefficientInit>, 2> kNames = {
      {{"identity", CoefficientInit::kIdentity}, {"active", CoefficientInit::kActive}}};
};

/// What the decoder's cross-attention reads: all K·d of the encoder's output, or the sum of its
/// blocks.
enum class CrossAttentionWidth { kWide, kSummed };
template <>
struct EnumNames<CrossAttentionWidth> {
  static constexpr std::array<std::pair<std::string_view, CrossAttentionWidth>, 2> kNames = {
      {{"wide", CrossAttentionWidth::kWide}, {"summed", CrossAttentionWidth::kSummed}}};
};

/// Whether the prediction and correction coefficients are numbers of the layer, or functions of the
/// token as in Gemma 3n.
enum class Coefficients { kStatic, kToken };
template <>
struct EnumNames<Coefficients> {
  static constexpr std::array<std::pair<std::string_view, Coefficients>, 2> kNames = {
      {{"static", Coefficients::kStatic}, {"token", Coefficients::kToken}}};
};

/// [altup]
struct AltUpConfig {
  Variant variant = Variant::kNone;
  int64_t blocks = 2;
  BlockSelection block_selection = BlockSelection::kAlternating;
  CoefficientInit init = CoefficientInit::kIdentity;
  CrossAttentionWidth cross_attention = CrossAttentionWidth::kWide;
  Coefficients coefficients = Coefficients::kStatic;
  int64_t stride = 4;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"variant", "how tokens are widened, or the encoder's sequence is shortened"},
          self.variant);
    visit(Field{"blocks", "K, blocks of width d_model a token has", 1, 64}, self.blocks);
    visit(Field{"block_selection", "which block a layer computes"}, self.block_selection);
    visit(Field{"init", "start of the prediction and correction coefficients"}, self.init);
    visit(Field{"cross_attention", "what the decoder reads of the encoder"}, self.cross_attention);
    visit(Field{"coefficients", "numbers of the layer, or functions of the token"},
          self.coefficients);
    visit(Field{"stride",
                "k of sequence, stride_skip and average_pool: the encoder computes every k-th "
                "position, or means of k",
                1, 1 << 20},
          self.stride);
  }
  bool operator==(const AltUpConfig&) const = default;
};

/// Who chooses: each token its expert (Fedus et al. 2021), or each expert its tokens (Zhou et al.
/// 2022). An expert that chooses compares a sequence's tokens, later ones too, so that the decoder
/// always has kSwitch.
enum class Router { kSwitch, kExpertChoice };
template <>
struct EnumNames<Router> {
  static constexpr std::array<std::pair<std::string_view, Router>, 2> kNames = {
      {{"switch", Router::kSwitch}, {"expert_choice", Router::kExpertChoice}}};
};

/// [moe]: docs/mixture_of_experts.md
struct MoeConfig {
  int64_t experts = 0;
  Router router = Router::kSwitch;
  double capacity_factor = 1.25;
  int64_t every = 2;
  bool batch_prioritised = false;
  double load_balance_loss = 0.01;
  double router_z_loss = 0.001;
  double jitter = 0.01;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(
        Field{"experts", "of a mixture, in place of the feed-forward; 0: no mixtures", 0, 1 << 16},
        self.experts);
    visit(Field{"router",
                "who chooses: a token its expert, or an expert its tokens (in the encoder; the "
                "decoder has switch)"},
          self.router);
    visit(Field{"capacity_factor",
                "places of an expert over an equal share of the tokens; switch: in training only",
                0, 1000},
          self.capacity_factor);
    visit(Field{"every", "every n-th layer of a stack has a mixture", 1, 1024}, self.every);
    visit(
        Field{"batch_prioritised",
              "switch, in the encoder: a full expert keeps the tokens it is likeliest for, not the "
              "first ones"},
        self.batch_prioritised);
    visit(Field{"load_balance_loss", "switch: weight of a mixture's load-balance loss", 0},
          self.load_balance_loss);
    visit(Field{"router_z_loss", "weight of the mean (log Z)^2 of a router's logits", 0},
          self.router_z_loss);
    visit(Field{"jitter",
                "in training a router's input is multiplied by random numbers from 1 - jitter to 1 "
                "+ jitter",
                0, 0.999},
          self.jitter);
  }
  bool operator==(const MoeConfig&) const = default;
};

/// [model], with [altup] and [moe] beside it.
struct T5Config {
  ModelSize size = ModelSize::kSmall;
  int64_t d_model = 512;
  int64_t d_ff = 1024;
  int64_t d_kv = 64;
  int64_t num_heads = 6;
  int64_t num_encoder_layers = 8;
  int64_t num_decoder_layers = 8;
  int64_t vocab_size = 32128;
  FeedForwardKind feed_forward = FeedForwardKind::kGatedGelu;
  bool tie_embeddings = false;
  double dropout = 0.0;
  int64_t relative_buckets = 32;
  int64_t relative_max_distance = 128;
  double norm_epsilon = 1e-6;
  AltUpConfig altup;  ///< a section of its own in files
  MoeConfig moe;      ///< likewise

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(Field{"size", "fills the keys below; each can be overridden"}, self.size);
    visit(Field{"d_model", "width of a layer", 1, 1 << 20}, self.d_model);
    visit(Field{"d_ff", "width inside the feed-forward", 1, 1 << 20}, self.d_ff);
    visit(Field{"d_kv", "width of a head", 1, 1 << 16}, self.d_kv);
    visit(Field{"num_heads", "attention heads", 1, 4096}, self.num_heads);
    visit(Field{"num_encoder_layers", "layers of the encoder", 1, 1024}, self.num_encoder_layers);
    visit(Field{"num_decoder_layers", "layers of the decoder", 1, 1024}, self.num_decoder_layers);
    visit(Field{"vocab_size", "rows of the embedding; at least pieces + sentinels", 4, 1 << 24},
          self.vocab_size);
    visit(Field{"feed_forward", "gated_gelu (T5 1.1) or relu (T5 1.0)"}, self.feed_forward);
    visit(Field{"tie_embeddings",
                "the head is the embedding; what it reads is scaled by its width^-0.5"},
          self.tie_embeddings);
    visit(Field{"dropout", "rate, in training", 0, 0.999}, self.dropout);
    visit(Field{"relative_buckets", "buckets of the relative position bias", 4, 4096},
          self.relative_buckets);
    visit(Field{"relative_max_distance", "tokens; further away is one bucket", 2, 1 << 20},
          self.relative_max_distance);
    visit(Field{"norm_epsilon", "added to the mean square in RMSNorm", 0, 1}, self.norm_epsilon);
  }

  /// Sets what the size decides (d_model … num_decoder_layers); kCustom sets nothing.
  void apply_size(ModelSize new_size);
  /// Throws UserError for settings that contradict each other; the message starts with the key.
  void validate() const;

  /// K where the state is widened inside the stacks, else 1.
  int64_t num_blocks() const {
    return altup.variant == Variant::kAltUp || altup.variant == Variant::kRecycled ? altup.blocks
                                                                                   : 1;
  }
  /// Width of a row of the embedding.
  int64_t embedding_width() const {
    return altup.variant == Variant::kAltUp || altup.variant == Variant::kSum
               ? altup.blocks * d_model
               : d_model;
  }
  /// Width of what leaves the decoder, after its final norm.
  int64_t output_width() const {
    return altup.variant == Variant::kAltUp ? altup.blocks * d_model : d_model;
  }
  /// Width of what leaves the encoder and cross-attention reads.
  int64_t memory_width() const {
    return altup.variant == Variant::kAltUp && altup.cross_attention == CrossAttentionWidth::kWide
               ? altup.blocks * d_model
               : d_model;
  }
  /// The block that layer `index` of a stack computes.
  int64_t active_block(int64_t index) const {
    return altup.block_selection == BlockSelection::kAlternating ? index % num_blocks() : 0;
  }
  /// Blocks that no layer of the encoder or none of the decoder computes, whichever are more.
  int64_t idle_blocks() const {
    const int64_t layers = std::min(num_encoder_layers, num_decoder_layers);
    const bool in_turn = altup.block_selection == BlockSelection::kAlternating;
    return num_blocks() - std::min(num_blocks(), in_turn ? layers : int64_t{1});
  }
  /// Whether layer `index` of the encoder computes every stride-th position only: all but the first
  /// and the last.
  bool strides_layer(int64_t index) const {
    return shortens_layers() && !pools_memory() && index > 0 && index + 1 < num_encoder_layers;
  }
  /// Whether some of the encoder's layers compute fewer positions than there are tokens.
  bool shortens_layers() const {
    return altup.variant == Variant::kSequence || altup.variant == Variant::kStrideSkip ||
           pools_memory();
  }
  /// Whether the encoder's first layer is followed by a mean of stride positions, so that the memory
  /// is as much shorter.
  bool pools_memory() const { return altup.variant == Variant::kAveragePool; }
  /// Whether layer `index` of a stack has a mixture of experts for its feed-forward: the last of
  /// every moe.every layers.
  bool has_mixture(int64_t index) const { return moe.experts > 0 && (index + 1) % moe.every == 0; }
  /// Layers with a mixture, of a stack of so many.
  int64_t num_mixtures(int64_t layers) const { return moe.experts > 0 ? layers / moe.every : 0; }
  bool operator==(const T5Config&) const = default;
};

/// The fields above by name, the [altup] and [moe] ones under "altup" and "moe": what an export says
/// of its model.
std::string to_json(const T5Config& config);

}  // namespace altup
