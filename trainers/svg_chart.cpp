#include "trainers/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "altup/util/text.h"

namespace altup {
namespace {

using Point = std::pair<double, double>;

// Okabe and Ito's colours, told apart by colour-blind readers too; then the same dashed, and
// dotted.
constexpr std::array<std::string_view, 7> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                      "#E69F00", "#56B4E9", "#333333"};
constexpr std::array<std::string_view, 3> kDashes = {"", "6 3", "1.5 3"};

// The picture, in its own units; it is stretched to its column.
constexpr double kWidth = 366;
constexpr double kHeight = 236;
constexpr double kLeft = 56;
constexpr double kRight = 346;
constexpr double kTop = 10;
constexpr double kBottom = 192;
constexpr std::string_view kGridColour = "#e3e3e0";
constexpr std::string_view kAxisColour = "#555";
// More points than this are drawn as means of neighbours: nobody sees more in a picture of this
// width.
constexpr size_t kMaxPoints = 300;

std::string stroke(int64_t style) {
  const auto index = static_cast<size_t>(style);
  const auto dashes = kDashes[index / kColours.size() % kDashes.size()];
  return str("stroke=\"", kColours[index % kColours.size()], "\"",
             dashes.empty() ? "" : " stroke-dasharray=\"", dashes, dashes.empty() ? "" : "\"");
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

/// Round numbers that cover a range: 0, 500, 1000, …
struct Ticks {
  double first = 0;
  double step = 1;
  int count = 0;
  int digits = 0;

  double at(int i) const { return first + step * i; }
  double last() const { return at(count - 1); }
};

Ticks make_ticks(Range range) {
  if (range.empty()) range = {0, 1};
  if (range.high - range.low < 1e-9 * std::max(1.0, std::abs(range.high))) {
    const double margin = range.high == 0 ? 1 : std::abs(range.high) * 0.1;
    range = {range.low - margin, range.high + margin};
  }
  const double rough = (range.high - range.low) / 5;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double head = rough / power;
  Ticks ticks;
  ticks.step = power * (head <= 1 ? 1 : head <= 2 ? 2 : head <= 5 ? 5 : 10);
  ticks.first = std::floor(range.low / ticks.step + 1e-9) * ticks.step;
  ticks.count = 1 + static_cast<int>(std::ceil((range.high - ticks.first) / ticks.step - 1e-9));
  ticks.digits = std::max(0, -static_cast<int>(std::floor(std::log10(ticks.step) + 1e-9)));
  return ticks;
}

std::vector<Point> thinned(const std::vector<Point>& points) {
  if (points.size() <= kMaxPoints) return points;
  std::vector<Point> means;
  for (size_t bin = 0; bin < kMaxPoints; ++bin) {
    const size_t begin = bin * points.size() / kMaxPoints;
    const size_t end = (bin + 1) * points.size() / kMaxPoints;
    Point sum{0, 0};
    for (size_t i = begin; i < end; ++i) {
      sum.first += points[i].first;
      sum.second += points[i].second;
    }
    const auto n = static_cast<double>(end - begin);
    means.emplace_back(sum.first / n, sum.second / n);
  }
  return means;
}

std::string tick(double value, int digits) {
  return digits > 0 ? fixed(value, digits) : thousands(std::llround(value));
}

std::string line(double x1, double y1, double x2, double y2, std::string_view colour) {
  return str("<path d=\"M", fixed(x1, 1), " ", fixed(y1, 1), " L", fixed(x2, 1), " ", fixed(y2, 1),
             "\" stroke=\"", colour, "\"/>\n");
}

std::string text(double x, double y, std::string_view anchor, const std::string& content,
                 const std::string& attributes = "") {
  return str("<text x=\"", fixed(x, 1), "\" y=\"", fixed(y, 1), "\" text-anchor=\"", anchor, "\"",
             attributes, ">", escape_html(content), "</text>\n");
}

class Picture {
 public:
  explicit Picture(const Chart& chart) : chart_(chart) {
    for (const auto& series : chart.series) {
      std::vector<Point> scaled;
      for (const auto& [x, y] : series.points) {
        scaled.emplace_back(x / chart.x.scale, y / chart.y.scale);
      }
      curves_.push_back(thinned(scaled));
    }
    choose_ranges();
  }

  std::string draw() const {
    // Styled by attributes, not by the page, so that a figure can be cut out and used alone.
    std::string out =
        str("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", kWidth, " ", kHeight,
            "\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"10\" fill=\"#444\" ",
            "role=\"img\" aria-label=\"", escape_html(chart_.y.label + " by " + chart_.x.label),
            "\">\n");
    out += grid();
    out += str("<svg x=\"", kLeft, "\" y=\"", kTop - 3, "\" width=\"", kRight - kLeft + 4,
               "\" height=\"", kBottom - kTop + 6, "\" viewBox=\"", kLeft, " ", kTop - 3, " ",
               kRight - kLeft + 4, " ", kBottom - kTop + 6, "\">\n");
    for (size_t i = 0; i < curves_.size(); ++i) out += curve(curves_[i], chart_.series[i]);
    return out + "</svg>\n</svg>\n";  // the inner one cuts off what leaves the axes
  }

 private:
  void choose_ranges() {
    Range x;
    Range y;
    Range y_all;
    for (const auto& points : curves_) {
      for (const auto& point : points) x.add(point.first);
    }
    if (!x.empty()) x.low = std::min(x.low, 0.0);
    const double from = chart_.skip_start ? x.high / 10 : -std::numeric_limits<double>::infinity();
    for (const auto& points : curves_) {
      for (const auto& point : points) {
        if (!std::isfinite(point.second)) continue;
        y_all.add(point.second);
        if (point.first >= from) y.add(point.second);
      }
    }
    x_ = make_ticks(x);
    y_ = make_ticks(y.empty() ? y_all : y);
    x_end_ = x.empty() ? x_.last() : std::max(x.high, x_.at(x_.count - 2));
  }

  double left(double x) const {
    return kLeft + (x - x_.first) / (x_end_ - x_.first) * (kRight - kLeft);
  }
  double top(double y) const {
    return kBottom - (y - y_.first) / (y_.last() - y_.first) * (kBottom - kTop);
  }

  std::string grid() const {
    std::string out;
    for (int i = 0; i < y_.count; ++i) {
      const double y = top(y_.at(i));
      out += line(kLeft, y, kRight, y, kGridColour);
      out += text(kLeft - 6, y + 3.5, "end", tick(y_.at(i), y_.digits));
    }
    for (int i = 0; i < x_.count && x_.at(i) <= x_end_ * (1 + 1e-9); ++i) {
      const double x = left(x_.at(i));
      out += line(x, kBottom, x, kBottom + 4, kAxisColour);
      out += text(x, kBottom + 16, "middle", tick(x_.at(i), x_.digits));
    }
    out += line(kLeft, kTop, kLeft, kBottom, kAxisColour);
    out += line(kLeft, kBottom, kRight, kBottom, kAxisColour);
    const std::string label = " font-size=\"11\" fill=\"#1b1b1b\"";
    const double middle = (kTop + kBottom) / 2;
    out += text((kLeft + kRight) / 2, kHeight - 8, "middle", chart_.x.label, label);
    return out + text(11, middle, "middle", chart_.y.label,
                      str(label, " transform=\"rotate(-90 11 ", middle, ")\""));
  }

  std::string curve(const std::vector<Point>& points, const Series& series) const {
    std::string path;
    size_t drawn = 0;
    bool open = false;
    Point last;
    for (const auto& point : points) {
      if (!std::isfinite(point.second)) {
        open = false;
        continue;
      }
      path +=
          str(open ? " L" : " M", fixed(left(point.first), 1), " ", fixed(top(point.second), 1));
      open = true;
      last = point;
      ++drawn;
    }
    if (drawn == 0) return "";
    std::string out = str("<g class=\"curve\"><title>", escape_html(series.name), "</title>");
    if (drawn > 1) {
      out += str("<path d=\"", trim(path), "\" fill=\"none\" stroke-width=\"1.6\" ",
                 "stroke-linejoin=\"round\" ", stroke(series.style), "/>");
    }
    // The last value: for a single point all there is to see.
    out += str("<circle cx=\"", fixed(left(last.first), 1), "\" cy=\"", fixed(top(last.second), 1),
               "\" r=\"2.6\" fill=\"#fff\" stroke-width=\"1.6\" ", "stroke=\"",
               kColours[static_cast<size_t>(series.style) % kColours.size()], "\"/>");
    return out + "</g>\n";
  }

  const Chart& chart_;
  std::vector<std::vector<Point>> curves_;
  Ticks x_;
  Ticks y_;
  double x_end_ = 1;
};

}  // namespace

Axis count_axis(const std::string& what, double largest) {
  if (largest >= 2e9) return {what + " (billions)", 1e9};
  if (largest >= 2e6) return {what + " (millions)", 1e6};
  if (largest >= 2e4) return {what + " (thousands)", 1e3};
  return {what, 1};
}

Axis time_axis(const std::string& what, double largest_seconds) {
  if (largest_seconds >= 7200) return {what + " (hours)", 3600};
  if (largest_seconds >= 120) return {what + " (minutes)", 60};
  return {what + " (seconds)", 1};
}

std::string svg_chart(const Chart& chart) {
  return Picture(chart).draw();
}

std::string svg_swatch(int64_t style) {
  return str(
      "<svg class=\"swatch\" viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path d=\"M1 4 H25\" ",
      "stroke-width=\"2.4\" ", stroke(style), "/></svg>");
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace altup
