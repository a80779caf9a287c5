// An experiment on one page: a table of its variants, and curves with a band over the seeds; as HTML, as
// Markdown with figures beside it, and as JSON. An unfinished grid is shown as far as it is, with what is
// missing.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainers/experiment_results.h"

namespace altup {

struct ExperimentFigure {
  std::string name;  ///< in the name of its file, as "tokens" or "ablations_time"
  std::string title;
  std::string caption;
  std::string svg;
};

/// For each group of variants: the loss by tokens; by time where the step times are known; and the
/// difference to the baseline. Figures without a curve are left out.
std::vector<ExperimentFigure> experiment_figures(const ExperimentResults& results);

std::string experiment_html(const ExperimentResults& results);
/// `stem`: how the names of the figures' files begin, which are stem_NAME.svg.
std::string experiment_markdown(const ExperimentResults& results, const std::string& stem);
std::string experiment_json(const ExperimentResults& results);

/// Reads the experiment's directory and writes `output` (HTML), and beside it the same name with .md and
/// .json, and the figures. Returns what was written.
std::vector<std::filesystem::path> write_experiment_report(const std::filesystem::path& directory,
                                                           const std::filesystem::path& output);

}  // namespace altup
