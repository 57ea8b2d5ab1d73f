// SPDX-License-Identifier: BSD-3-Clause
// Text that somebody else wrote, as people see it in a message.
#pragma once

#include <string>
#include <string_view>

namespace flowfs {

// In quotes, short, and without control characters.
std::string quoted(std::string_view text);

}  // namespace flowfs
