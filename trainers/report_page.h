// The page around a report: its style, for the screen and for print, and nothing from elsewhere.
#pragma once

#include <string>

namespace altup {

/// `body` is HTML; title and heading are text, which is escaped.
std::string html_page(const std::string& title, const std::string& heading,
                      const std::string& body);

}  // namespace altup
