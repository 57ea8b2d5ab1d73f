// SPDX-License-Identifier: BSD-3-Clause
// How events name objects: paths below the mount.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "registry/types.hpp"

namespace flowfs::registry {

inline std::string path_of_name(std::string_view name) {
  return std::string("names/").append(name);
}

inline std::string text_of(FlowId flow) { return std::to_string(std::to_underlying(flow)); }

inline std::string path_of_flow(FlowId flow) { return "flows/" + text_of(flow); }

}  // namespace flowfs::registry
