// SPDX-License-Identifier: BSD-3-Clause
// The options of a socket as files of a bus.
//
//   IPN_SO_NUMNODES, IPN_SO_CHANGE_NUMNODES  ports
//   IPN_SO_MTU                               mtu
//   IPN_SO_MSGPOOLSIZE                       depth, in messages of pool_unit() bytes
//   IPN_SO_FLAGS                             delivery: lossless with IPN_FLAG_LOSSLESS
//   IPN_SO_MODE                              the mode of `bus`
//
// Errors: those of the files; EINVAL what no bus can have; ENOPROTOOPT an option without a file.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace flowfs::ipn {

using Options = std::map<int, int>;  // what bind will ask for

// Whether `value` can be asked for before bind.
Status check_option(int option, int value);

// What messages of a pool count for: their most, but not more than 4096 bytes.
int pool_unit(int mtu_bytes);

// Makes a bus of `protocol` that is nobody's but the caller's until all is as asked for. Errors
// besides: those of mkdir (EEXIST among them); EPROTONOSUPPORT a policy there is not.
Status make_bus(const std::string& folder, int protocol, const Options& options);

// Whether a socket of `protocol` may use the bus. Errors: ENOENT none such; EPROTOTYPE it has
// another policy.
Status check_protocol(const std::string& folder, int protocol);

// Writes a file of a bus.
Status write_attribute(const std::string& path, std::string_view text);

Result<int> read_option(const std::string& folder, int option);
Status write_option(const std::string& folder, int option, int value);

}  // namespace flowfs::ipn
