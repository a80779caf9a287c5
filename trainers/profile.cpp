#include "trainers/profile.h"

#include <ATen/Context.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <set>

#include "altup/util/error.h"
#include "altup/util/logging.h"

namespace altup {

namespace impl = torch::profiler::impl;
namespace profiler = torch::autograd::profiler;

Profile::Profile() {
  const impl::ProfilerConfig config(impl::ProfilerState::KINETO, /*report_input_shapes=*/true);
  std::set<impl::ActivityType> activities = {impl::ActivityType::CPU};
  if (at::hasCUDA()) activities.insert(impl::ActivityType::CUDA);
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
}

Profile::~Profile() {
  if (running_) profiler::disableProfiler();
}

void Profile::write(const std::filesystem::path& file) {
  const auto result = profiler::disableProfiler();
  running_ = false;
  result->save(file.string());
  if (!std::filesystem::exists(file)) {
    throw UserError(file.string(), "could not be written; expected a path for the trace");
  }
  log_info("a trace for chrome://tracing or ui.perfetto.dev: ", file.string());
}

}  // namespace altup
