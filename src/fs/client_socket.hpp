// SPDX-License-Identifier: BSD-3-Clause
// A way to a datagram socket that a client has bound in a folder where it may write.
//
// A path from a client is input (threats.md R14), and the VDE protocol offers nothing better, so:
//   - its folder must be one of those that VDE clients use, all of them root's or ours; it is
//     opened by that name, never by more of the client's
//   - only the last component is looked up in it, without following anything and without entering a
//     mount: nothing of a client's can make this wait, or lead into our own tree
//   - what is there is held before it is looked at: a socket, and of the uid that connected to us.
//     Nobody gets frames from us, as root, that did not ask for them (a socket of the system's that
//     trusts its senders)
//   - from then on the path is not used again: the connection is made through what is held
// A client's socket is often open to its owner alone. A daemon that root started may write to it
// all the same with CAP_DAC_OVERRIDE, which it keeps in reserve for this one call.
//
// Threads: any.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace flowfs::fs {

// A new datagram socket, O_NONBLOCK, that exchanges with the client's and no other. `ours` is a
// folder that is allowed beside the usual ones. Errors: EINVAL no path of a file; EACCES another
// folder; ENOTSOCK; EPERM of somebody else; ENOENT, EXDEV and what connect(2) says.
Result<Fd> connect_to_client(std::string_view path, uid_t owner, std::string_view ours);

}  // namespace flowfs::fs
