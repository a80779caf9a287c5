// The TorchScript of a dense model's classes, and of mixtures of experts, of ATen operators alone.
#pragma once

namespace altup {

extern const char* const kEmbedding;
extern const char* const kLinear;
extern const char* const kRmsNorm;
extern const char* const kRelativeBias;
extern const char* const kAttention;
extern const char* const kGatedGelu;
extern const char* const kRelu;
extern const char* const kGatedGeluExperts;
extern const char* const kReluExperts;
extern const char* const kSwitchMixture;
extern const char* const kExpertChoiceMixture;
extern const char* const kEncoderLayer;
extern const char* const kDecoderLayer;
extern const char* const kEncoder;
extern const char* const kDecoder;
extern const char* const kT5;

}  // namespace altup
