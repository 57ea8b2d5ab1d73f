// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as what a client writes to an attribute file or to ctl: refused with EINVAL or ERANGE,
// or a value that reads back as itself.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "fs/attributes.hpp"

namespace {

using flowfs::Result;
using flowfs::registry::kUnlimited;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

template <typename T>
void require_refused(const Result<T>& result) {
  require(result.error().error == EINVAL || result.error().error == ERANGE);
}

bool has_space(std::string_view text) {
  return text.find_first_of(" \t\r\n") != std::string_view::npos;
}

void check_trim(std::string_view text) {
  const std::string_view trimmed = flowfs::fs::trim(text);
  require(flowfs::fs::trim(trimmed) == trimmed);
  require(text.find(trimmed) != std::string_view::npos);
  require(trimmed.empty() || !has_space({&trimmed.front(), 1}));
  require(trimmed.empty() || !has_space({&trimmed.back(), 1}));
}

void check_number(std::string_view text, std::uint64_t least, std::uint64_t most,
                  bool max_allowed) {
  const auto number = flowfs::fs::parse_number(text, least, most, max_allowed);
  if (!number) {
    require_refused(number);
    return;
  }
  require((max_allowed && *number == kUnlimited) || (*number >= least && *number <= most));
  require(flowfs::fs::parse_number(flowfs::fs::format_number(*number), least, most, max_allowed) ==
          *number);
}

void check_pairs(std::string_view text) {
  const auto pairs = flowfs::fs::parse_pairs(text);
  if (!pairs) {
    require_refused(pairs);
    return;
  }
  std::set<std::string_view> keys;
  for (const auto& [key, value] : *pairs) {
    require(!key.empty() && !has_space(key) && keys.insert(key).second);
    require(!value.empty() && flowfs::fs::trim(value) == value);
    require(value.find('\n') == std::string_view::npos);
  }
}

void check_qos(std::string_view text) {
  const auto qos = flowfs::fs::parse_qos(text);
  if (!qos) {
    require_refused(qos);
    return;
  }
  require(qos->loss_ppm <= 1'000'000 && qos->delay_us > 0 && qos->timeout_us > 0);
  const std::string formatted = flowfs::fs::format_qos(*qos);
  const auto again = flowfs::fs::parse_qos(formatted);
  require(again.has_value() && flowfs::fs::format_qos(*again) == formatted);
}

void check_words(std::string_view text) {
  if (const auto balance = flowfs::fs::parse_balance(text)) {
    require(flowfs::fs::trim(text) == to_string(*balance));
  } else {
    require_refused(balance);
  }
  if (const auto verb = flowfs::fs::parse_flow_verb(text); !verb) {
    require_refused(verb);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_trim(text);
  check_number(text, 0, kUnlimited - 1, true);
  check_number(text, 1, 917'504, false);
  check_pairs(text);
  check_qos(text);
  check_words(text);
  return 0;
}
