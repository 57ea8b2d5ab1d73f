// SPDX-License-Identifier: BSD-3-Clause
// The files of a security folder as flowctl writes them: nobody else can read the keys, and none is
// ever there by half.
//
// Errors: those of the calls.
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"

namespace flowfs::cli {

// The folder and those above it that are missing, for their owner alone.
Status make_folders(const std::string& path);
// In the place of what is there.
Status write_file(const std::string& path, std::string_view text);

}  // namespace flowfs::cli
