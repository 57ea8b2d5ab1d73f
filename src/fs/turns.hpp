// SPDX-License-Identifier: BSD-3-Clause
// What waits for one who serves it, by whose it is: each user in turn, however much one has
// brought, and what one has brought in its order.
//
// Threads: one at a time.
// Invariants: nobody is in `turns_` twice, and exactly those are who have something waiting.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

namespace flowfs::fs {

template <typename Item>
class Turns {
 public:
  Turns(std::size_t most, std::size_t most_of_one) : most_(most), most_of_one_(most_of_one) {}

  // False, and nothing happens, where too many wait already.
  [[nodiscard]] bool try_add(uid_t uid, Item item) {
    const auto found = waiting_.find(uid);
    const std::size_t of_one = found == waiting_.end() ? 0 : found->second.size();
    if (size_ == most_ || of_one >= most_of_one_) {
      return false;
    }
    if (of_one == 0) {
      turns_.push_back(uid);
    }
    waiting_[uid].push_back(std::move(item));
    ++size_;
    return true;
  }

  // Whose turn it is; nothing where nothing waits.
  std::optional<Item> take() {
    if (turns_.empty()) {
      return std::nullopt;
    }
    const uid_t uid = turns_.front();
    turns_.pop_front();
    const auto found = waiting_.find(uid);
    std::optional<Item> taken(std::move(found->second.front()));
    found->second.pop_front();
    --size_;
    if (found->second.empty()) {
      waiting_.erase(found);
    } else {
      turns_.push_back(uid);
    }
    return taken;
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::size_t most_;
  std::size_t most_of_one_;
  std::size_t size_ = 0;
  std::unordered_map<uid_t, std::deque<Item>> waiting_;
  std::deque<uid_t> turns_;
};

}  // namespace flowfs::fs
