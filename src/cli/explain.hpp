// SPDX-License-Identifier: BSD-3-Clause
// Errors in words for whoever reads them at night: what was tried on what, what the kernel said,
// and what to do about it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace flowfs::cli {

// What flowctl was doing; the same errno means different things to each.
enum class Deed : std::uint8_t {
  read_tree,    // a file or folder of the mount
  dial,         // opening names/NAME/dial
  accept,       // opening names/NAME/accept
  make_name,    // mkdir names/NAME
  remove_name,  // rmdir names/NAME
  transfer,     // read or write on a flow
  identify,     // FLOWFS_IOC_ID
  bus,          // joining buses/BUS, reading or writing as its member
};

// "Permission denied (EACCES)".
std::string errno_in_words(int error);

// What can be done, as a sentence without a full stop; empty where there is nothing to say.
std::string_view advice(Deed deed, int error);

// "cannot dial names/log: Permission denied (EACCES); the mode of its dial file ..."
std::string explain(Deed deed, std::string_view object, int error);

}  // namespace flowfs::cli
