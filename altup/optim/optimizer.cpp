#include "altup/optim/optimizer.h"

#include <map>
#include <set>
#include <string_view>

#include "altup/optim/moments.h"
#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

[[noreturn]] void refuse_state(const std::string& what) {
  throw UserError(altup::str("optimizer state: ", what,
                             " (was it written with another model or another optimizer.name?)"));
}

bool is_of_altup(const std::string& name) {
  return name.ends_with("prediction_coefs") || name.ends_with("correction_coefs");
}

}  // namespace

bool is_coefficient(const std::string& name, const at::Tensor& parameter) {
  if (parameter.dim() == 1) return is_of_altup(name);
  return name.ends_with("prediction_coefs") && parameter.dim() == 2 &&
         parameter.size(0) == parameter.size(1);
}

bool is_exempt(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() < 2 || is_of_altup(name);
}

at::ScalarType moment_type(const at::Tensor& parameter) {
  return parameter.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor read_gradient(const std::string& name, const at::Tensor& parameter) {
  const at::Tensor gradient = parameter.grad();
  if (!gradient.defined()) return gradient;
  TORCH_CHECK(gradient.layout() == at::kStrided, "gradient of ", name, " has layout ",
              gradient.layout(), "; expected a strided tensor");
  TORCH_CHECK(gradient.sizes() == parameter.sizes(), "gradient of ", name, " has shape ",
              gradient.sizes(), "; expected ", parameter.sizes());
  return gradient.to(moment_type(parameter)).contiguous();
}

bool has_plain_memory(const at::Tensor& parameter, const at::Tensor& gradient) {
  return parameter.is_cpu() && gradient.is_cpu() && parameter.scalar_type() == at::kFloat &&
         parameter.is_contiguous();
}

at::Tensor step_tensor(int64_t step) {
  return torch::tensor(step, at::kLong);
}

void load_moments(const NamedTensors& expected, const NamedTensors& state) {
  std::map<std::string_view, at::Tensor> given;
  for (const auto& [name, tensor] : state) {
    if (!given.emplace(name, tensor).second)
      refuse_state(altup::str("\"", name, "\" is there twice"));
  }
  for (const auto& [name, tensor] : expected) {
    const auto found = given.find(name);
    if (found == given.end()) refuse_state(altup::str("\"", name, "\" is missing"));
    const at::Tensor& value = found->second;
    if (value.sizes() != tensor.sizes() || value.scalar_type() != tensor.scalar_type()) {
      refuse_state(altup::str("\"", name, "\" is ", value.scalar_type(), value.sizes(),
                              "; expected ", tensor.scalar_type(), tensor.sizes()));
    }
  }
  if (given.size() != expected.size()) {
    for (const auto& [name, tensor] : expected) given.erase(name);
    refuse_state(altup::str("\"", given.begin()->first, "\" is not known"));
  }
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : expected) tensor.copy_(given.at(name));
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, NamedTensors parameters) {
  std::set<std::string_view> names;
  std::set<const void*> tensors;
  for (const auto& [name, tensor] : parameters) {
    TORCH_CHECK(tensor.defined() && at::isFloatingType(tensor.scalar_type()), "parameter ", name,
                " is not a floating-point tensor");
    TORCH_CHECK(names.insert(name).second, "parameter ", name, " is listed twice");
    // A tied weight under two names would be updated twice a step.
    TORCH_CHECK(tensors.insert(tensor.unsafeGetTensorImpl()).second, "parameter ", name,
                " is listed under another name too");
  }
  return config.name == OptimizerName::kAdamW ? make_adamw(config, std::move(parameters))
                                              : make_adafactor(config, std::move(parameters));
}

}  // namespace altup
