// SPDX-License-Identifier: BSD-3-Clause
// The actions of `flowctl bus` that join a bus. Each ends at a signal, and then says what it did.
#pragma once

#include "cli/commands.hpp"
#include "cli/interrupt.hpp"

namespace flowfs::cli {

// Writes every message of a bus to a pcapng file, with its time, as a member that only receives.
int record_bus(const Common& common, const BusOptions& options, Interrupts& interrupts);

// Sends the packets of a pcapng file to a bus, at the times at which they were recorded.
int replay_bus(const Common& common, const BusOptions& options, Interrupts& interrupts);

// Carries the messages of each of two buses to the other; or those of one to a flow, and back,
// behind which another link does the same. What goes away is joined again.
int link_buses(const Common& common, const BusOptions& options, Interrupts& interrupts);

}  // namespace flowfs::cli
