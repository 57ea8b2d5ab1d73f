// SPDX-License-Identifier: BSD-3-Clause
#include "base/counters.hpp"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "base/result.hpp"

namespace flowfs {
namespace {

enum class Quoted { no, yes };

// Help text keeps its quotation marks, a label value does not.
void append_escaped(std::string& text, std::string_view value, Quoted quoted) {
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\\' || (c == '"' && quoted == Quoted::yes)) {
      text += '\\';
      text += c;
    } else {
      text += c;
    }
  }
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view help, Type type) {
  family_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {} ", name);
  append_escaped(text_, help, Quoted::no);
  fmt::format_to(std::back_inserter(text_), "\n# TYPE {} {}\n", name,
                 type == Type::counter ? "counter" : "gauge");
}

void MetricsText::sample(std::string_view name, std::span<const Label> labels,
                         std::uint64_t value) {
  FLOWFS_CHECK(name == family_);
  text_ += name;
  char separator = '{';
  for (const Label& label : labels) {
    text_ += separator;
    text_ += label.name;
    text_ += "=\"";
    append_escaped(text_, label.value, Quoted::yes);
    text_ += '"';
    separator = ',';
  }
  if (!labels.empty()) {
    text_ += '}';
  }
  fmt::format_to(std::back_inserter(text_), " {}\n", value);
}

std::string MetricsText::take() {
  family_.clear();
  return std::exchange(text_, {});
}

}  // namespace flowfs
