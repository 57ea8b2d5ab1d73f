// SPDX-License-Identifier: BSD-3-Clause
// Threads for what a loop must not wait for: slow jobs, and calls that may block in the kernel.
//
// Threads: made, used and destroyed on the loop's thread. A job runs (and is destroyed) on a worker
// and touches nothing of the loop; its `done` runs on the loop's thread. With one thread, jobs run
// and end in the order they were submitted.
// Owns: the threads. Destruction waits for the jobs under way, drops those that wait, and no `done`
// runs afterwards.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/loop.hpp"

namespace flowfs {

class Workers {
 public:
  // At most `limit` jobs wait. `name` is the threads'.
  Workers(Loop& loop, const char* name, unsigned threads = 1, std::size_t limit = 65536);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // False, and nothing happens, when `limit` jobs wait already.
  [[nodiscard]] bool try_submit(std::function<void()> job, std::function<void()> done = {});

  // Jobs that no thread has begun.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct Job {
    std::function<void()> run;
    std::function<void()> done;
  };

  void serve();
  void report(std::function<void()> done);

  Loop& loop_;
  std::size_t limit_;
  std::shared_ptr<bool> alive_;  // what it points at belongs to the loop's thread
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;   // under mutex_
  bool stopping_ = false;  // under mutex_
  std::vector<std::thread> threads_;
};

}  // namespace flowfs
