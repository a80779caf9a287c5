#include "trainers/report_page.h"

#include "altup/util/text.h"
#include "trainers/svg_chart.h"

namespace altup {
namespace {

constexpr std::string_view kStyle = R"css(
body { font: 1rem/1.5 Charter, Georgia, "Times New Roman", serif; color: #1b1b1b; background: #fdfdfc;
       max-width: 1240px; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { max-width: 46rem; margin: .3rem 0 .8rem; } .note { color: #555; font-size: .9rem; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums lining-nums;
        border-top: 1.5px solid #222; border-bottom: 1.5px solid #222; }
.scroll { overflow-x: auto; }
th, td { padding: .25rem .5rem; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #222; font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, .text { text-align: left; } td small { color: #666; }
figure { margin: 1.6rem 0; break-inside: avoid; }
figcaption { font-size: .92rem; margin-bottom: .3rem; } figcaption b { margin-right: .6rem; }
.legend { font-size: .88rem; } .legend span { margin-right: 1.1rem; white-space: nowrap; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: .6rem; }
.wrap th { white-space: normal; max-width: 7rem; } pre { white-space: pre-wrap; font-size: .8rem; }
.wide { max-width: 760px; }
.swatch { width: 26px; height: 8px; margin-right: .35rem; vertical-align: middle; }
@page { size: A4 landscape; margin: 12mm; }
@media print { html { font-size: 11px; } body { margin: 0; max-width: none; background: #fff; }
               table { font-size: 9px; } .scroll { overflow: visible; }
               .panels { grid-template-columns: repeat(3, 1fr); } }
)css";

}  // namespace

std::string html_page(const std::string& title, const std::string& heading,
                      const std::string& body) {
  return str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n",
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>",
             escape_html(title), "</title>\n<style>", kStyle, "</style>\n</head>\n<body>\n<h1>",
             escape_html(heading), "</h1>\n", body, "</body>\n</html>\n");
}

}  // namespace altup
