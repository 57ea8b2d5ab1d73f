// SPDX-License-Identifier: BSD-3-Clause
#include "bus/vlan.hpp"

#include <fmt/format.h>

#include <charconv>

namespace flowfs::bus {
namespace {

constexpr std::uint16_t kLeast = 1;
constexpr std::uint16_t kMost = 4094;
constexpr std::string_view kAccess = "access ";
constexpr std::string_view kTrunk = "trunk ";

Result<std::uint16_t> parse_vlan(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || error == std::errc::invalid_argument) {
    return fail(EINVAL, "VLAN");
  }
  if (error == std::errc::result_out_of_range || value < kLeast || value > kMost) {
    return fail(ERANGE, "VLAN");
  }
  return static_cast<std::uint16_t>(value);
}

struct Range {
  std::uint16_t first;
  std::uint16_t last;
};

// "10" or "20-29"
Result<Range> parse_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_vlan(text.substr(0, dash));
  if (!first) {
    return std::unexpected(first.error());
  }
  if (dash == std::string_view::npos) {
    return Range{*first, *first};
  }
  const auto last = parse_vlan(text.substr(dash + 1));
  if (!last) {
    return std::unexpected(last.error());
  }
  if (*last < *first) {
    return fail(EINVAL, "VLAN");
  }
  return Range{*first, *last};
}

}  // namespace

Result<PortVlans> PortVlans::parse_access(std::string_view text) {
  const auto vlan = parse_vlan(text);
  if (!vlan) {
    return std::unexpected(vlan.error());
  }
  PortVlans result;
  result.kind_ = Kind::access;
  result.access_ = VlanId(*vlan);
  return result;
}

Result<PortVlans> PortVlans::parse_trunk(std::string_view text) {
  PortVlans result;
  result.kind_ = Kind::trunk;
  for (;;) {
    const std::size_t comma = text.find(',');
    const auto range = parse_range(text.substr(0, comma));
    if (!range) {
      return std::unexpected(range.error());
    }
    for (unsigned vlan = range->first; vlan <= range->last; ++vlan) {
      result.trunk_.set(vlan);
    }
    if (comma == std::string_view::npos) {
      return result;
    }
    text.remove_prefix(comma + 1);
  }
}

Result<PortVlans> PortVlans::parse(std::string_view text) {
  if (text == "any") {
    return PortVlans();
  }
  if (text.starts_with(kAccess)) {
    return parse_access(text.substr(kAccess.size()));
  }
  if (text.starts_with(kTrunk)) {
    return parse_trunk(text.substr(kTrunk.size()));
  }
  return fail(EINVAL, "VLAN");
}

std::string PortVlans::text() const {
  if (kind_ == Kind::any) {
    return "any";
  }
  if (kind_ == Kind::access) {
    return fmt::format("{}{}", kAccess, static_cast<std::uint16_t>(access_));
  }
  std::string text(kTrunk);
  for (unsigned vlan = kLeast; vlan <= kMost; ++vlan) {
    if (!trunk_.test(vlan)) {
      continue;
    }
    unsigned last = vlan;
    while (trunk_.test(last + 1)) {  // never past kMost, whose follower is no VLAN
      ++last;
    }
    text += fmt::format("{}{}", text.size() == kTrunk.size() ? "" : ",", vlan);
    if (last > vlan) {
      text += fmt::format("-{}", last);
    }
    vlan = last;
  }
  return text;
}

std::optional<VlanId> PortVlans::takes(std::optional<std::uint16_t> tci) const {
  const VlanId tagged = tci ? vlan_of(*tci) : kNoVlan;
  switch (kind_) {
    case Kind::any:
      return tagged;
    case Kind::access:
      return tagged == kNoVlan ? std::optional(access_) : std::nullopt;
    case Kind::trunk:
      return trunk_.test(static_cast<std::uint16_t>(tagged)) ? std::optional(tagged) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<Edit> PortVlans::gives(VlanId vlan, std::optional<std::uint16_t> tci) const {
  if (kind_ == Kind::access) {
    if (vlan != access_) {
      return std::nullopt;
    }
    return Edit{tci ? Edit::Kind::tag_removed : Edit::Kind::as_is};
  }
  if (kind_ == Kind::trunk && !trunk_.test(static_cast<std::uint16_t>(vlan))) {
    return std::nullopt;
  }
  if (vlan == (tci ? vlan_of(*tci) : kNoVlan)) {
    return Edit{};
  }
  // It came through an access port: the tag, with the priority that it had, has to say so.
  const auto bits = static_cast<std::uint16_t>(vlan);
  if (!tci) {
    return Edit{Edit::Kind::tag_added, bits};
  }
  return Edit{Edit::Kind::tag_replaced, static_cast<std::uint16_t>((*tci & ~kVlanBits) | bits)};
}

}  // namespace flowfs::bus
