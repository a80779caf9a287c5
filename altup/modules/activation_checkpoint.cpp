#include "altup/modules/activation_checkpoint.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace altup {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Body = std::function<variable_list(const variable_list&)>;

// Autocast is thread-local, and the backward pass may run on another thread than the forward pass.
struct AutocastState {
  bool enabled;
  at::ScalarType dtype;
  bool cache_enabled;

  static AutocastState current(at::DeviceType device) {
    return {at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device),
            at::autocast::is_autocast_cache_enabled()};
  }
  void apply(at::DeviceType device) const {
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, dtype);
    at::autocast::set_autocast_cache_enabled(cache_enabled);
  }
};

// Runs the body under `state`, but without autocast's cache of lowered weights: a copy made in the
// forward pass here has no gradient, and one made in the backward pass would still be there when
// the optimiser has moved the weights.
class AutocastScope {
 public:
  AutocastScope(at::DeviceType device, AutocastState state)
      : device_(device), before_(AutocastState::current(device)) {
    state.cache_enabled = false;
    state.apply(device);
  }
  ~AutocastScope() { before_.apply(device_); }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType device_;
  AutocastState before_;
};

at::Tensor random_state(const at::Device& device) {
  auto generator = at::globalContext().defaultGenerator(device);
  std::scoped_lock lock(generator.mutex());
  return generator.get_state();
}

void set_random_state(const at::Device& device, const at::Tensor& state) {
  auto generator = at::globalContext().defaultGenerator(device);
  std::scoped_lock lock(generator.mutex());
  generator.set_state(state);
}

struct BodyHolder : torch::CustomClassHolder {
  explicit BodyHolder(Body function) : body(std::move(function)) {}
  Body body;
  AutocastState autocast{};
};

class CheckpointFunction : public torch::autograd::Function<CheckpointFunction> {
 public:
  static variable_list forward(AutogradContext* context,
                               const c10::intrusive_ptr<BodyHolder>& holder,
                               at::TensorList inputs) {
    const auto device = inputs[0].device();
    holder->autocast = AutocastState::current(device.type());
    context->saved_data["body"] = c10::IValue::make_capsule(holder);
    context->saved_data["random_state"] = random_state(device);
    context->save_for_backward(inputs.vec());
    context->set_materialize_grads(false);
    AutocastScope autocast(device.type(), holder->autocast);
    return holder->body(inputs.vec());  // autograd is off in here: nothing of the body is kept
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto holder =
        c10::static_intrusive_pointer_cast<BodyHolder>(context->saved_data["body"].toCapsule());
    std::vector<torch::Tensor> inputs;
    for (const auto& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    }
    const auto device = inputs[0].device();
    const auto random_now = random_state(device);
    set_random_state(device, context->saved_data["random_state"].toTensor());
    variable_list outputs;
    {
      AutocastScope autocast(device.type(), holder->autocast);
      torch::AutoGradMode with_gradients(true);
      outputs = holder->body(inputs);
    }
    set_random_state(device, random_now);
    // An output that nobody has used has no gradient; one that is a constant asks for none.
    variable_list used;
    variable_list used_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
      used.push_back(outputs[i]);
      used_gradients.push_back(gradients[i]);
    }
    torch::autograd::backward(used, used_gradients);
    variable_list result = {torch::Tensor()};  // for the body
    for (const auto& input : inputs) result.push_back(input.grad());
    return result;
  }
};

}  // namespace

variable_list checkpoint_activation(Body body, const variable_list& inputs) {
  if (!torch::GradMode::is_enabled()) return body(inputs);
  // As a TensorList: in a std::vector, apply() would not see that these are tensors.
  return CheckpointFunction::apply(c10::make_intrusive<BodyHolder>(std::move(body)),
                                   at::TensorList(inputs));
}

torch::Tensor checkpoint_activation(std::function<torch::Tensor(const variable_list&)> body,
                                    const variable_list& inputs) {
  return checkpoint_activation(
      Body([body = std::move(body)](const variable_list& in) { return variable_list{body(in)}; }),
      inputs)[0];
}

}  // namespace altup
