// SPDX-License-Identifier: BSD-3-Clause
// A look at TOML text before the parser has it.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace flowfs::daemon {

// The line of the first character that is not ASCII and stands neither in a string nor in a
// comment, where TOML allows none. toml++ 3.3 runs into undefined behaviour at some of these. A
// text that is wrong in another way first may get any answer: the parser stops before it.
std::optional<std::size_t> line_of_stray_character(std::string_view text);

}  // namespace flowfs::daemon
