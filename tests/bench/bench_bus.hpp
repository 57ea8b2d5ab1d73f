// SPDX-License-Identifier: BSD-3-Clause
// A bus for the time of a benchmark, and mapped members of it.
#pragma once

#include <flowfs/flowfs.h>

#include <cstdint>
#include <memory>
#include <string>

#include "group.hpp"

namespace flowfs::bench {

class BenchBus {
 public:
  BenchBus(std::string mount, const std::string& what);
  ~BenchBus();
  BenchBus(const BenchBus&) = delete;
  BenchBus& operator=(const BenchBus&) = delete;

  // An attribute, such as delivery.
  BenchBus& set(const std::string& attribute, const std::string& value);
  // Of the bus's account, such as dropped.
  [[nodiscard]] std::uint64_t count(const std::string& key) const;
  // close() does not wait for the daemon: until it has heard that so many are left.
  void wait_for_members(std::size_t members) const;
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& mount() const { return mount_; }

 private:
  std::string mount_;
  std::string name_;
  std::string folder_;
};

struct Leave {
  void operator()(flowfs_handle* member) const { flowfs_close(member); }
};
using Member = std::unique_ptr<flowfs_handle, Leave>;

// A mapped one.
Member join(const BenchBus& bus, unsigned flags);

Group bus_members(const std::string& group_name, const BenchBus& bus);

}  // namespace flowfs::bench
