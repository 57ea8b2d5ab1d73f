// SPDX-License-Identifier: BSD-3-Clause
// Two connected descriptors that carry messages: a flow through the tree, or AF_UNIX
// SOCK_SEQPACKET.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "measure.hpp"

namespace flowfs::bench {

struct Pair {
  int here = -1;
  int there = -1;
};

// Makes a fresh pair for each measurement; ends the program when that fails.
using MakePair = std::function<Pair()>;

MakePair flows_of(const std::string& name_directory);
MakePair seqpackets();

// Round-trip times in microseconds, `count` after a warm-up, between this process and a forked one
// that sends everything back.
std::vector<double> round_trips(const MakePair& make, Placement placement, std::size_t bytes,
                                std::size_t count);

// Messages a second from this process to a forked one that reads them all.
double one_way(const MakePair& make, Placement placement, std::size_t bytes, std::size_t count);

// Microseconds of one FUSE request of this process: reading an attribute file of a few bytes.
std::vector<double> requests(const std::string& attribute_file, Placement placement,
                             std::size_t count);

}  // namespace flowfs::bench
