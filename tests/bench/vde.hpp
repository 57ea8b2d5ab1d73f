// SPDX-License-Identifier: BSD-3-Clause
// Stations on a vde_switch, through libvdeplug where it was found when this was built.
#pragma once

#include "group.hpp"

namespace flowfs::bench {

// Frames flooded by a switch of its own. It loses what a station has no room for, and does not say
// how much.
Group vde_stations();

}  // namespace flowfs::bench
