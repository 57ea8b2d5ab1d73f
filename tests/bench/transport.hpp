// SPDX-License-Identifier: BSD-3-Clause
// Ways to carry messages between two processes, and what is measured of each in the same manner.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "measure.hpp"
#include "processes.hpp"

namespace flowfs::bench {

// One of the two sides of a connection, in its own process. A failure ends the program: there is
// nothing to measure then.
class Side {
 public:
  virtual ~Side() = default;
  virtual void send(std::span<const std::byte> message) = 0;
  // A message of this length; any other is a failure.
  virtual void receive(std::span<std::byte> message) = 0;
  // At least one message and at most `most`, in one go where the transport can do that.
  virtual std::size_t send_some(std::span<const std::byte> message, std::size_t /*most*/) {
    send(message);
    return 1;
  }
  virtual std::size_t receive_some(std::span<std::byte> message, std::size_t /*most*/) {
    receive(message);
    return 1;
  }
};

// Called once in each of the two processes; `far` in the forked one.
using OpenSide = std::function<std::unique_ptr<Side>(bool far)>;

struct Transport {
  std::string name;
  // What both processes inherit; called before the fork, afresh for every measurement.
  std::function<OpenSide()> prepare;
  bool spins = false;        // needs a processor for each side
  std::size_t speed = 1;     // so many times the messages of the slow ones, for a run long enough
  std::string missing = "";  // why there is none, where there is none
  std::size_t bytes = 0;     // of its messages, where that is not the same for all
};

// Round-trip times in microseconds, `count` after a warm-up, between this process and a forked one
// that sends everything back.
std::vector<double> round_trips(const Transport& transport, Placement placement, std::size_t bytes,
                                std::size_t count);

// Messages a second from this process to a forked one that reads them all.
double one_way(const Transport& transport, Placement placement, std::size_t bytes,
               std::size_t count);

// Microseconds of one FUSE request of this process: reading an attribute file of a few bytes.
std::vector<double> requests(const std::string& attribute_file, Placement placement,
                             std::size_t count);

// Why `transport` cannot be measured so; empty where it can.
std::string obstacle(const Transport& transport, Placement placement);

// What the programs are started with: MOUNT [ROUNDS [SCALE]].
struct Arguments {
  std::string mount;
  std::size_t rounds = 7;
  std::size_t scale = 1;  // divides the number of messages, for a run that only shows that it works
};
Arguments parse(int argc, char** argv);

// A name for the time of a benchmark, which every user may dial and serve.
class BenchName {
 public:
  explicit BenchName(const std::string& mount);
  ~BenchName();
  BenchName(const BenchName&) = delete;
  BenchName& operator=(const BenchName&) = delete;
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  std::string name_;
  std::string folder_;
};

}  // namespace flowfs::bench
