// SPDX-License-Identifier: BSD-3-Clause
// The text of attribute files: values in, values out. Pure; what a client wrote is input.
//
// Errors: EINVAL what cannot be parsed; ERANGE what is out of range.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {

// Without white space (space, tab, newline, carriage return) at either end.
std::string_view trim(std::string_view text);

// A decimal number, or `max` (kUnlimited) where `max_allowed`.
Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t least, std::uint64_t most,
                                   bool max_allowed);
std::string format_number(std::uint64_t value);  // kUnlimited is `max`
// The number that the name of an object is. One spelling each: `007` is nobody.
std::optional<std::uint64_t> number_named(std::string_view name, std::uint64_t least,
                                          std::uint64_t most);

// `key value` lines. Blank lines are ignored; a key twice or without a value is EINVAL.
Result<std::vector<std::pair<std::string_view, std::string_view>>> parse_pairs(
    std::string_view text);

Result<registry::Balance> parse_balance(std::string_view text);
// A write sets the whole value: keys that are absent get their defaults.
Result<registry::NameSettings::Qos> parse_qos(std::string_view text);
std::string format_qos(const registry::NameSettings::Qos& qos);

// The verbs of flows/ID/ctl, and of buses/BUS/port/N/ctl.
enum class FlowVerb { shutdown_read, shutdown_write, close };
Result<FlowVerb> parse_flow_verb(std::string_view text);

}  // namespace flowfs::fs
