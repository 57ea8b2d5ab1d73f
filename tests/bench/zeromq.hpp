// SPDX-License-Identifier: BSD-3-Clause
// ZeroMQ over ipc://, where it was found when this was built.
#pragma once

#include "transport.hpp"

namespace flowfs::bench {

Transport zeromq_pairs();
Transport zeromq_push_pull();

}  // namespace flowfs::bench
