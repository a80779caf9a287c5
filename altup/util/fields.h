// How a component declares the keys of its Config, once, for everything that is done with them:
// strict reading from TOML, --set, range checks, and writing the resolved run back. A Config lists
// its fields with a name, a help text and a range:
//
//   struct DataConfig {
//     int64_t input_length = 512;
//     template <class Self, class Visit>
//     static void fields(Self& self, Visit&& visit) {
//       visit(Field{"input_length", "tokens after corruption", 8}, self.input_length);
//     }
//     void validate() const;  // what one field alone cannot say; throws UserError("data.key is …;
//     expected …")
//   };
//
// Field types: bool, int64_t, double, std::string, std::vector<std::string>, and enums that
// specialise EnumNames.
#pragma once

#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace altup {

struct Field {
  std::string_view name;
  std::string_view help;
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

/// Specialised by each enum that a config key can hold:
///   template <> struct EnumNames<Router> { static constexpr std::array<std::pair<std::string_view,
///   Router>, 2> kNames = …; };
template <class E>
struct EnumNames;

template <class E>
constexpr std::string_view enum_name(E value) {
  for (const auto& [name, known] : EnumNames<E>::kNames) {
    if (known == value) return name;
  }
  return "?";
}

}  // namespace altup
