// SPDX-License-Identifier: BSD-3-Clause
// Transports that are a descriptor on each side.
#pragma once

#include "transport.hpp"

namespace flowfs::bench {

Transport file_flows(const BenchName& name);
Transport seqpackets();
Transport pipes();

}  // namespace flowfs::bench
