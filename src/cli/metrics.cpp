// SPDX-License-Identifier: BSD-3-Clause
#include "cli/metrics.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "cli/key_value.hpp"

namespace flowfs::cli {
namespace {

// Takes `key="value"` off the front, with the comma behind it.
std::optional<std::pair<std::string, std::string>> take_label(std::string_view& text) {
  const std::size_t equals = text.find("=\"");
  if (equals == std::string_view::npos) {
    return std::nullopt;
  }
  std::string value;
  std::size_t at = equals + 2;
  for (; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\' && at + 1 < text.size()) {
      ++at;
    }
    value += text[at];
  }
  if (at == text.size()) {
    return std::nullopt;
  }
  std::pair label(std::string(text.substr(0, equals)), std::move(value));
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(',', at + 1)));
  return label;
}

bool take_labels(std::string_view text, Metrics::Labels& labels) {
  while (!text.empty()) {
    auto label = take_label(text);
    if (!label) {
      return false;
    }
    labels.push_back(std::move(*label));
  }
  return true;
}

}  // namespace

Metrics Metrics::parse(std::string_view text) {
  Metrics metrics;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t blank = line.rfind(' ');
    if (line.starts_with('#') || blank == std::string_view::npos) {
      continue;
    }
    Sample sample;
    const std::string_view number = line.substr(blank + 1);
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), sample.value);
    const std::string_view left = trim(line.substr(0, blank));
    const std::size_t brace = left.find('{');
    sample.name = left.substr(0, brace);
    const bool labelled = brace != std::string_view::npos;
    if (parsed.ec == std::errc{} && (!labelled || left.ends_with('}')) &&
        (!labelled ||
         take_labels(left.substr(brace + 1, left.size() - brace - 2), sample.labels))) {
      metrics.samples_.push_back(std::move(sample));
    }
  }
  return metrics;
}

double Metrics::total(std::string_view name, const Labels& labels) const {
  double sum = 0;
  for (const Sample& sample : samples_) {
    const bool matches = sample.name == name && std::ranges::all_of(labels, [&](const auto& label) {
                           return std::ranges::find(sample.labels, label) != sample.labels.end();
                         });
    sum += matches ? sample.value : 0;
  }
  return sum;
}

}  // namespace flowfs::cli
