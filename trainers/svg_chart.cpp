#include "trainers/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "altup/util/text.h"

namespace altup {
namespace {

// Okabe and Ito's colours, told apart by colour-blind readers too; then the same dashed, and
// dotted.
constexpr std::array<std::string_view, 7> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                      "#E69F00", "#56B4E9", "#333333"};
constexpr std::array<std::string_view, 3> kDashes = {"", "6 3", "1.5 3"};

// The picture, in its own units; it is stretched to its column. Between left and right, top and
// bottom are the curves.
struct Frame {
  double width;
  double height;
  double left;
  double right;
  double top;
  double bottom;
};
constexpr Frame kPanel = {366, 236, 56, 346, 10, 192};
constexpr Frame kLabelled = {540, 316, 56, 400, 10, 272};  // at least; see frame_of()
constexpr double kLabelHeight = 12;
constexpr double kSwatchStart = 14;  // right of the frame
constexpr double kNameStart = 36;
constexpr double kLetterWidth = 6;  // the mean of a name's letters in a wide font
constexpr std::string_view kGridColour = "#e3e3e0";
constexpr std::string_view kAxisColour = "#555";
// More points than this are drawn as means of neighbours: nobody sees more in a picture of this
// width.
constexpr size_t kMaxPoints = 300;

std::string_view colour(int64_t style) {
  return kColours[static_cast<size_t>(style) % kColours.size()];
}

std::string stroke(int64_t style) {
  const auto dashes = kDashes[static_cast<size_t>(style) / kColours.size() % kDashes.size()];
  return str("stroke=\"", colour(style), "\"", dashes.empty() ? "" : " stroke-dasharray=\"", dashes,
             dashes.empty() ? "" : "\"");
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

/// A point of a curve, with its band's ends, which are NaN where there is none.
struct Mark {
  double x = 0;
  double y = 0;
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

std::vector<Mark> thinned(const std::vector<Mark>& points) {
  if (points.size() <= kMaxPoints) return points;
  std::vector<Mark> means;
  for (size_t bin = 0; bin < kMaxPoints; ++bin) {
    const size_t begin = bin * points.size() / kMaxPoints;
    const size_t end = (bin + 1) * points.size() / kMaxPoints;
    Mark sum{0, 0, 0, 0};
    for (size_t i = begin; i < end; ++i) {
      sum.x += points[i].x;
      sum.y += points[i].y;
      sum.low += points[i].low;
      sum.high += points[i].high;
    }
    const auto n = static_cast<double>(end - begin);
    means.push_back({sum.x / n, sum.y / n, sum.low / n, sum.high / n});
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

/// Wide enough for the curves' names, where these stand beside them.
Frame frame_of(const Chart& chart) {
  if (!chart.label_curves) return kPanel;
  Frame frame = kLabelled;
  for (const auto& series : chart.series) {
    const auto letters = std::count_if(series.name.begin(), series.name.end(), [](char byte) {
      return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;  // UTF-8: the first of a letter
    });
    const double name = kNameStart + kLetterWidth * static_cast<double>(letters);
    frame.width = std::max(frame.width, frame.right + name);
  }
  return frame;
}

class Picture {
 public:
  explicit Picture(const Chart& chart) : chart_(chart), frame_(frame_of(chart)) {
    for (const auto& series : chart.series) {
      std::vector<Mark> scaled;
      for (size_t i = 0; i < series.points.size(); ++i) {
        const auto& [x, y] = series.points[i];
        Mark mark{.x = x / chart.x.scale, .y = y / chart.y.scale};
        if (i < series.band.size()) {
          mark.low = series.band[i].first / chart.y.scale;
          mark.high = series.band[i].second / chart.y.scale;
        }
        scaled.push_back(mark);
      }
      curves_.push_back(thinned(scaled));
    }
    choose_ranges();
  }

  std::string draw() const {
    // Styled by attributes, not by the page, so that a figure can be cut out and used alone.
    std::string out =
        str("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", frame_.width, " ",
            frame_.height,
            "\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"10\" fill=\"#444\" ",
            "role=\"img\" aria-label=\"", escape_html(chart_.y.label + " by " + chart_.x.label),
            "\">\n");
    const double width = frame_.right - frame_.left;
    const double height = frame_.bottom - frame_.top;
    out += grid();
    out += str("<svg x=\"", frame_.left, "\" y=\"", frame_.top - 3, "\" width=\"", width + 4,
               "\" height=\"", height + 6, "\" viewBox=\"", frame_.left, " ", frame_.top - 3, " ",
               width + 4, " ", height + 6, "\">\n");
    for (size_t i = 0; i < curves_.size(); ++i) out += band(curves_[i], chart_.series[i]);
    for (size_t i = 0; i < curves_.size(); ++i) out += curve(curves_[i], chart_.series[i]);
    out += "</svg>\n";  // the inner one cuts off what leaves the axes
    if (chart_.label_curves) out += labels();
    return out + "</svg>\n";
  }

 private:
  void choose_ranges() {
    Range x;
    Range y;
    Range y_all;
    for (const auto& marks : curves_) {
      for (const auto& mark : marks) x.add(mark.x);
    }
    if (!x.empty()) x.low = std::min(x.low, 0.0);
    const double from = chart_.skip_start ? x.high / 10 : -std::numeric_limits<double>::infinity();
    for (const auto& marks : curves_) {
      for (const auto& mark : marks) {
        for (const double value : {mark.y, mark.low, mark.high}) {
          if (!std::isfinite(value)) continue;
          y_all.add(value);
          if (mark.x >= from) y.add(value);
        }
      }
    }
    x_ = make_ticks(x);
    y_ = make_ticks(y.empty() ? y_all : y);
    x_end_ = x.empty() ? x_.last() : std::max(x.high, x_.at(x_.count - 2));
  }

  double left(double x) const {
    return frame_.left + (x - x_.first) / (x_end_ - x_.first) * (frame_.right - frame_.left);
  }
  double top(double y) const {
    return frame_.bottom - (y - y_.first) / (y_.last() - y_.first) * (frame_.bottom - frame_.top);
  }

  std::string grid() const {
    std::string out;
    for (int i = 0; i < y_.count; ++i) {
      const double y = top(y_.at(i));
      out += line(frame_.left, y, frame_.right, y, kGridColour);
      out += text(frame_.left - 6, y + 3.5, "end", tick(y_.at(i), y_.digits));
    }
    for (int i = 0; i < x_.count && x_.at(i) <= x_end_ * (1 + 1e-9); ++i) {
      const double x = left(x_.at(i));
      out += line(x, frame_.bottom, x, frame_.bottom + 4, kAxisColour);
      out += text(x, frame_.bottom + 16, "middle", tick(x_.at(i), x_.digits));
    }
    out += line(frame_.left, frame_.top, frame_.left, frame_.bottom, kAxisColour);
    out += line(frame_.left, frame_.bottom, frame_.right, frame_.bottom, kAxisColour);
    const std::string label = " font-size=\"11\" fill=\"#1b1b1b\"";
    const double middle = (frame_.top + frame_.bottom) / 2;
    out +=
        text((frame_.left + frame_.right) / 2, frame_.height - 8, "middle", chart_.x.label, label);
    return out + text(11, middle, "middle", chart_.y.label,
                      str(label, " transform=\"rotate(-90 11 ", middle, ")\""));
  }

  /// Along the highest values, and back along the lowest.
  std::string band(const std::vector<Mark>& marks, const Series& series) const {
    std::string there;
    std::string back;
    for (const auto& mark : marks) {
      if (!std::isfinite(mark.low) || !std::isfinite(mark.high)) continue;
      const auto x = fixed(left(mark.x), 1);
      there += str(there.empty() ? "M" : " L", x, " ", fixed(top(mark.high), 1));
      back = str(" L", x, " ", fixed(top(mark.low), 1), back);
    }
    if (there.empty()) return "";
    return str("<path class=\"band\" d=\"", there, back, " Z\" fill=\"", colour(series.style),
               "\" fill-opacity=\"0.16\"/>\n");
  }

  std::string curve(const std::vector<Mark>& marks, const Series& series) const {
    std::string path;
    size_t drawn = 0;
    bool open = false;
    Mark last;
    for (const auto& mark : marks) {
      if (!std::isfinite(mark.y)) {
        open = false;
        continue;
      }
      path += str(open ? " L" : " M", fixed(left(mark.x), 1), " ", fixed(top(mark.y), 1));
      open = true;
      last = mark;
      ++drawn;
    }
    if (drawn == 0) return "";
    std::string out = str("<g class=\"curve\"><title>", escape_html(series.name), "</title>");
    if (drawn > 1) {
      out += str("<path d=\"", trim(path), "\" fill=\"none\" stroke-width=\"1.6\" ",
                 "stroke-linejoin=\"round\" ", stroke(series.style), "/>");
    }
    // The last value: for a single point all there is to see.
    out += str("<circle cx=\"", fixed(left(last.x), 1), "\" cy=\"", fixed(top(last.y), 1),
               "\" r=\"2.6\" fill=\"#fff\" stroke-width=\"1.6\" ", "stroke=\"",
               colour(series.style), "\"/>");
    return out + "</g>\n";
  }

  /// The curves' names right of the frame, at the height of their ends as far as there is room, each
  /// joined with its end by a thin line.
  std::string labels() const {
    struct Label {
      size_t series;
      double x;       // of the curve's end
      double y;       // likewise, inside the frame
      double height;  // of the label
    };
    std::vector<Label> all;
    for (size_t i = 0; i < curves_.size(); ++i) {
      const auto end = std::find_if(curves_[i].rbegin(), curves_[i].rend(),
                                    [](const Mark& mark) { return std::isfinite(mark.y); });
      if (end == curves_[i].rend()) continue;
      const double y = std::clamp(top(end->y), frame_.top, frame_.bottom);
      all.push_back({i, left(end->x), y, y});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.y < b.y; });
    // Down as far as the one above needs, then up again as far as the frame's end needs.
    for (size_t i = 1; i < all.size(); ++i) {
      all[i].height = std::max(all[i].height, all[i - 1].height + kLabelHeight);
    }
    double limit = frame_.bottom;
    for (auto label = all.rbegin(); label != all.rend(); ++label) {
      label->height = std::min(label->height, limit);
      limit = label->height - kLabelHeight;
    }
    std::string out;
    for (const auto& [i, x, y, height] : all) {
      const auto& series = chart_.series[i];
      const double start = frame_.right + kSwatchStart;
      out += str("<path d=\"M", fixed(x + 4, 1), " ", fixed(y, 1), " L", fixed(start - 2, 1), " ",
                 fixed(height, 1), "\" stroke=\"", colour(series.style),
                 "\" stroke-width=\"0.6\" stroke-opacity=\"0.7\"/>\n<path d=\"M", fixed(start, 1),
                 " ", fixed(height, 1), " L", fixed(start + 18, 1), " ", fixed(height, 1),
                 "\" stroke-width=\"2\" ", stroke(series.style), "/>\n");
      out += text(frame_.right + kNameStart, height + 3.5, "start", series.name,
                  " class=\"label\" fill=\"#1b1b1b\"");
    }
    return out;
  }

  const Chart& chart_;
  Frame frame_;
  std::vector<std::vector<Mark>> curves_;
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
