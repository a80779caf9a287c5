// Line charts as inline SVG, for the report: no script, no font and no file from elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace altup {

/// One curve. Points whose y is not finite interrupt it. `style` picks colour and dashes, the same
/// in every chart.
struct Series {
  std::string name;
  int64_t style = 0;
  std::vector<std::pair<double, double>> points = {};  ///< by rising x
  /// Lowest and highest value at each of the points, as over seeds: a band behind the curve. Empty: none.
  std::vector<std::pair<double, double>> band = {};
};

/// Dark grey, for what others are compared with.
constexpr int64_t kBaselineStyle = 6;

/// What an axis says: values are divided by `scale`, the label names the unit.
struct Axis {
  std::string label;
  double scale = 1.0;
};

/// "training tokens (millions)" for a largest value of 5e6.
Axis count_axis(const std::string& what, double largest);
/// "training time (minutes)" for a largest value of 1000 seconds.
Axis time_axis(const std::string& what, double largest_seconds);

struct Chart {
  Axis x;
  Axis y;
  std::vector<Series> series;
  /// Leaves the steep first tenth of the x axis out when the y axis is chosen, so that the rest
  /// can be seen.
  bool skip_start = false;
  /// A larger picture, with each curve's name beside its end in place of a legend.
  bool label_curves = false;
};

std::string svg_chart(const Chart& chart);
/// A short stroke in the colour and dashes of `style`, for legends.
std::string svg_swatch(int64_t style);

/// Text as HTML and SVG content or attribute value.
std::string escape_html(std::string_view text);

}  // namespace altup
