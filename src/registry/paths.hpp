// SPDX-License-Identifier: BSD-3-Clause
// How objects are named, by users and in events (paths below the mount).
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.hpp"
#include "registry/types.hpp"

namespace flowfs::registry {

// Whether a user may give a name or a bus this name: EINVAL, ENAMETOOLONG.
Status check_new_name(std::string_view name);

inline std::string path_of_name(std::string_view name) {
  return std::string("names/").append(name);
}

inline std::string text_of(FlowId flow) { return std::to_string(std::to_underlying(flow)); }

inline std::string path_of_bus(std::string_view name) { return std::string("buses/").append(name); }

inline std::string path_of_flow(FlowId flow) { return "flows/" + text_of(flow); }

}  // namespace flowfs::registry
