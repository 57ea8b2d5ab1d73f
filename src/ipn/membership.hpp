// SPDX-License-Identifier: BSD-3-Clause
// What socket calls do to a bus: making, managing, joining, leaving, messages.
//
// Shape: connect puts the opened `bus` file in the place of the socket's descriptor. From then on
// the descriptor is what any program gets that opens the bus, for read, write, poll, close, dup,
// fork and exec; nothing here remembers it.
//
// Threads: any. Errors: as socket calls give them, said at each; and those of the files.
#pragma once

#include <sys/socket.h>

#include "base/result.hpp"
#include "ipn/placeholders.hpp"

namespace flowfs::ipn {

// Makes the bus, or makes sure that the caller may manage it; the folder. Errors: EINVAL bound
// already; EACCES others may manage it; EPROTOTYPE it has another policy; EPROTONOSUPPORT.
Result<std::string> bind_bus(const Placeholder& socket, const sockaddr* address, socklen_t bytes);

// Joins the bus of the address, or without one that of bind, with as many of the directions that
// were not shut down before as the mode of `bus` lets the caller have. Errors: EDESTADDRREQ neither
// address nor bind; ENOENT; EACCES no direction; EADDRNOTAVAIL the bus has as many ports as it may;
// EPROTOTYPE.
Status connect_bus(int fd, const Placeholder& socket, const sockaddr* address, socklen_t bytes);

// Whether shutdown knows `how`. Errors: EINVAL.
Status check_directions(int how);

// Gives up the direction; without any it is no member any more. Errors: EINVAL `how`; those of the
// file `ctl` of its port.
Status shut_down(int fd, const std::string& folder, int how);

// Errors: EPIPE (and SIGPIPE without MSG_NOSIGNAL) the direction was denied or shut down; EAGAIN;
// EOPNOTSUPP a flag without a meaning here; EISCONN an address was given.
Result<std::size_t> send_message(int fd, const msghdr& message, int flags);
// 0 bytes where the direction was denied or shut down. What does not fit comes with the next call.
Result<std::size_t> receive_message(int fd, const msghdr& message, int flags);

// SO_TYPE, SO_PROTOCOL, SO_DOMAIN, SO_ERROR, IPN_SO_PORT and those with files. Errors: ENOPROTOOPT.
Result<int> member_option(int fd, const std::string& folder, int level, int option);

}  // namespace flowfs::ipn
