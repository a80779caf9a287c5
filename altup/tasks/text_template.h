// Texts with holes for the columns of a file: "spam message: {text}". Braces are written double
// where they stand for themselves.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace altup {

struct TemplatePart {
  std::string text;  ///< what stands there, or the name of the column
  bool is_column = false;
};

using TextTemplate = std::vector<TemplatePart>;

/// UserError (without a place) for a brace that is not closed, not opened or empty.
TextTemplate parse_template(std::string_view text);

/// The names of the columns, each once, in the order of the text.
std::vector<std::string> template_columns(const TextTemplate& parts);

std::string fill_template(const TextTemplate& parts,
                          const std::function<std::string(const std::string& column)>& value);

}  // namespace altup
