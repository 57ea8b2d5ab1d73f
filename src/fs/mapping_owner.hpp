// SPDX-License-Identifier: BSD-3-Clause
// Whose a mapping through an open tx is, and when it is over. The first FLUSH after it began tells
// the owner (the library closes a duplicate for that); the next one of the same owner says that it
// has gone, even where a forked child keeps the file open. Threads: the loop's.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

namespace flowfs::fs {

class MappingOwner {
 public:
  void begin() {
    mapped_ = true;
    lock_owner_.reset();
  }
  // Whether it is the owner's death notice.
  bool is_farewell(std::uint64_t lock_owner) {
    if (mapped_ && !lock_owner_) {
      lock_owner_ = lock_owner;
      return false;
    }
    return mapped_ && *lock_owner_ == lock_owner;
  }
  // Whether there was one.
  bool end() { return std::exchange(mapped_, false); }

 private:
  bool mapped_ = false;
  std::optional<std::uint64_t> lock_owner_;
};

}  // namespace flowfs::fs
