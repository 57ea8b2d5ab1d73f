// SPDX-License-Identifier: BSD-3-Clause
// What this process has mapped of something once, however many of its ends use it, as long as one
// of them lives.
//
// Threads: any.
// Fork: nobody is in here then. The mappings are not in the child (MADV_DONTFORK): what there is
// stays the parent's, and the child begins with nothing. Whoever still points to it there never
// uses it again, nor destroys it (End::abandon).
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "base/result.hpp"

namespace flowfs::lib {

// `Value::close_file()` lets go, in a child, of the copy of what is open.
template <typename Key, typename Value>
class Living {
 public:
  // That of `key`, or what `open()` makes, a Result.
  template <typename Open>
  Result<std::shared_ptr<Value>> of(const Key& key, Open open) {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<Value>& known = by_key_[key];
    if (auto living = known.lock()) {
      return living;
    }
    Result<std::shared_ptr<Value>> opened = open();
    if (opened) {
      known = *opened;
    }
    return opened;
  }
  // The next of() opens another.
  void forget(const Value& value) {
    const std::lock_guard lock(mutex_);
    std::erase_if(by_key_, [&](const auto& entry) { return entry.second.lock().get() == &value; });
  }

  void before_fork() { mutex_.lock(); }
  void after_fork(bool is_child) {
    if (is_child) {
      for (const auto& [key, known] : by_key_) {
        if (const auto living = known.lock()) {
          living->close_file();
        }
      }
      by_key_.clear();
    }
    mutex_.unlock();
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::weak_ptr<Value>> by_key_;
};

}  // namespace flowfs::lib
