// SPDX-License-Identifier: BSD-3-Clause
// Helper threads: named, and deaf to signals, which are the loops' business.
#pragma once

#include <functional>
#include <thread>

namespace flowfs {

// `name` is shown by ps and top, at most 15 characters of it.
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace flowfs
