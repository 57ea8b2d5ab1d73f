// SPDX-License-Identifier: BSD-3-Clause
#include "base/quoted.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace flowfs {

std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 64;
  std::string shown(text.substr(0, kShown));
  std::ranges::replace_if(shown, [](char c) { return static_cast<unsigned char>(c) < ' '; }, '?');
  return fmt::format("'{}{}'", shown, text.size() > kShown ? "..." : "");
}

}  // namespace flowfs
