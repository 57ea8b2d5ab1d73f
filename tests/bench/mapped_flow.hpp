// SPDX-License-Identifier: BSD-3-Clause
// Transports through libflowfs.
#pragma once

#include "transport.hpp"

namespace flowfs::bench {

// How the two ends of a mapped flow are used.
struct MappedUse {
  unsigned flags = 0;      // of flowfs.h
  bool two_users = false;  // the far end belongs to another user
  bool in_place = false;   // loaned and borrowed instead of copied
  std::size_t batch = 1;   // messages a call, one way
  std::size_t speed = 1;   // as Transport
  // In place: loans of so many bytes take a block of the pool; 0: as the library thinks best.
  std::size_t block_least = 0;
};

Transport mapped_flows(const std::string& transport_name, const std::string& mount,
                       const BenchName& name, const MappedUse& use);

}  // namespace flowfs::bench
