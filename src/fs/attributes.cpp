// SPDX-License-Identifier: BSD-3-Clause
#include "fs/attributes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace flowfs::fs {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t least, std::uint64_t most,
                                   bool max_allowed) {
  text = trim(text);
  if (text == "max") {
    return max_allowed ? Result<std::uint64_t>(registry::kUnlimited)
                       : fail(ERANGE, "`max` is not allowed here");
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range && end == text.data() + text.size()) {
    return fail(ERANGE, "number out of range");
  }
  if (error != std::errc{} || end != text.data() + text.size()) {
    return fail(EINVAL, "not a number");
  }
  if (value < least || value > most) {
    return fail(ERANGE, "number out of range");
  }
  return value;
}

std::string format_number(std::uint64_t value) {
  return value == registry::kUnlimited ? "max" : fmt::format("{}", value);
}

std::optional<std::uint64_t> number_named(std::string_view name, std::uint64_t least,
                                          std::uint64_t most) {
  const auto number = parse_number(name, least, most, false);
  return number && name == fmt::format("{}", *number) ? std::optional(*number) : std::nullopt;
}

Result<std::vector<std::pair<std::string_view, std::string_view>>> parse_pairs(
    std::string_view text) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.empty()) {
      continue;
    }
    const auto gap = line.find_first_of(kSpace);
    if (gap == std::string_view::npos) {
      return fail(EINVAL, "a line is `key value`");
    }
    const auto key = line.substr(0, gap);
    if (std::ranges::any_of(pairs, [&](const auto& pair) { return pair.first == key; })) {
      return fail(EINVAL, "a key is given twice");
    }
    pairs.emplace_back(key, trim(line.substr(gap)));
  }
  return pairs;
}

Result<registry::Balance> parse_balance(std::string_view text) {
  using registry::Balance;
  text = trim(text);
  for (const Balance balance : {Balance::fifo, Balance::round_robin, Balance::least_flows}) {
    if (text == to_string(balance)) {
      return balance;
    }
  }
  return fail(EINVAL, "balance is fifo, round-robin or least-flows");
}

Result<registry::NameSettings::Qos> parse_qos(std::string_view text) {
  const auto pairs = parse_pairs(text);
  if (!pairs) {
    return std::unexpected(pairs.error());
  }
  registry::NameSettings::Qos qos;
  for (const auto& [key, value] : *pairs) {
    Result<std::uint64_t> number = 0;
    if (key == "loss") {
      number = parse_number(value, 0, 1'000'000, false);
      qos.loss_ppm = number.value_or(0);
    } else if (key == "ordered") {
      number = parse_number(value, 0, 1, false);
      qos.ordered = number.value_or(1) == 1;
    } else if (key == "delay") {
      number = parse_number(value, 1, registry::kUnlimited - 1, true);
      qos.delay_us = number.value_or(0);
    } else if (key == "bandwidth") {
      number = parse_number(value, 0, registry::kUnlimited - 1, false);
      qos.bandwidth = number.value_or(0);
    } else if (key == "timeout") {
      number = parse_number(value, 1, registry::kUnlimited - 1, true);
      qos.timeout_us = number.value_or(0);
    } else {
      return fail(EINVAL, "qos has loss, ordered, delay, bandwidth and timeout");
    }
    if (!number) {
      return std::unexpected(number.error());
    }
  }
  return qos;
}

std::string format_qos(const registry::NameSettings::Qos& qos) {
  return fmt::format("loss {}\nordered {}\ndelay {}\nbandwidth {}\ntimeout {}\n", qos.loss_ppm,
                     qos.ordered ? 1 : 0, format_number(qos.delay_us), qos.bandwidth,
                     format_number(qos.timeout_us));
}

Result<FlowVerb> parse_flow_verb(std::string_view text) {
  text = trim(text);
  if (text == "shutdown read") {
    return FlowVerb::shutdown_read;
  }
  if (text == "shutdown write") {
    return FlowVerb::shutdown_write;
  }
  if (text == "close") {
    return FlowVerb::close;
  }
  return fail(EINVAL, "ctl knows `shutdown read`, `shutdown write` and `close`");
}

}  // namespace flowfs::fs
