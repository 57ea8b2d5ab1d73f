// SPDX-License-Identifier: BSD-3-Clause
// Which bus the path of a socket address means. Pure but for bus_of_descriptor().
//
//   MOUNT/buses/BUS, MOUNT/buses/BUS/bus   that bus
//   any other path                         the bus that $FLOWFS_IPN_BUS names, else the one with
//                                          the name of the path's last component
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace flowfs::ipn {

struct Surroundings {
  std::string mount;    // where flowfs is
  std::string one_bus;  // empty: each path has its own
};

// $FLOWFS_MOUNT, else /run/flowfs; $FLOWFS_IPN_BUS.
Surroundings current_surroundings();

// The folder of the bus. Errors: EINVAL a path without a last component.
Result<std::string> bus_folder(std::string_view path, const Surroundings& surroundings);

// The path in an address, which need not end with a zero. Errors: EINVAL, EAFNOSUPPORT.
Result<std::string> path_of(const sockaddr* address, socklen_t bytes);

// The folder of the bus whose `bus` file is at `path`; nullopt: it is none.
std::optional<std::string> folder_of_file(std::string_view path);

// The same for an open descriptor.
std::optional<std::string> bus_of_descriptor(int fd);

}  // namespace flowfs::ipn
