// The TorchScript of a file that runs on the operators of altup_ops, where it differs from that of
// ATen operators alone: whole classes, and what the other texts leave open.
#pragma once

#include <map>
#include <string>

namespace altup {

/// Classes by name, of those that a model may have. Mixtures' experts are among them only where
/// `gated` (the feed-forward network is a gated GELU); the ReLU is the same in both.
std::map<std::string, std::string> fused_classes(bool gated);

/// Placeholders of torchscript_source.cpp.
std::map<std::string, std::string> fused_values();

}  // namespace altup
