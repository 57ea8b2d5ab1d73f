// SPDX-License-Identifier: BSD-3-Clause
// ZeroMQ over ipc://, where it was found when this was built.
#pragma once

#include "group.hpp"
#include "transport.hpp"

namespace flowfs::bench {

Transport zeromq_pairs();
Transport zeromq_push_pull();
// From one publisher, which waits where a subscriber is full.
Group zeromq_pub_sub();

}  // namespace flowfs::bench
