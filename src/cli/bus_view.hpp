// SPDX-License-Identifier: BSD-3-Clause
// What `flowctl bus list` and `flowctl bus members` show. Pure.
//
// Input: attribute files of buses/BUS, perhaps of another daemon version: what does not look as
// expected is left out.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/key_value.hpp"

namespace flowfs::cli {

struct BusRow {
  std::string name;
  std::string owner;
  std::string policy;  // empty: the caller may not read it, as with the next two
  std::string delivery;
  KeyValues stats;
};

struct MemberRow {
  std::uint64_t port = 0;
  std::string user;
  std::string pid;
  std::string mode;  // r, w, rw
  std::uint64_t lag = 0;
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t age_us = 0;
};

// The lines of `members`; the user is the uid as it stands there.
std::vector<MemberRow> parse_members(std::string_view text);

std::string render(const std::vector<BusRow>& buses, std::size_t width);
std::string render(const std::vector<MemberRow>& members, std::size_t width);
nlohmann::ordered_json as_json(const BusRow& bus);
nlohmann::ordered_json as_json(const MemberRow& member);

// 250ms, 12s, 34m, 5h, 6d: the largest unit of which there is one.
std::string short_age(std::uint64_t age_us);

}  // namespace flowfs::cli
