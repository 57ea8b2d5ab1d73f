// SPDX-License-Identifier: BSD-3-Clause
#include "base/worker.hpp"

#include <utility>

#include "base/thread.hpp"

namespace flowfs {

Workers::Workers(Loop& loop, const char* name, unsigned threads, std::size_t limit)
    : loop_(loop), limit_(limit), alive_(std::make_shared<bool>(true)) {
  for (unsigned i = 0; i < threads; ++i) {
    threads_.push_back(start_thread(name, [this] { serve(); }));
  }
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
  *alive_ = false;
}

bool Workers::try_submit(std::function<void()> job, std::function<void()> done) {
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.size() >= limit_) {
      return false;
    }
    jobs_.push_back({std::move(job), std::move(done)});
  }
  changed_.notify_one();
  return true;
}

std::size_t Workers::waiting() const {
  const std::lock_guard lock(mutex_);
  return jobs_.size();
}

void Workers::serve() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) {
        return;
      }
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job.run();
    if (job.done) {
      report(std::move(job.done));
    }
  }
}

void Workers::report(std::function<void()> done) {
  loop_.post([alive = alive_, told = std::move(done)] {
    if (*alive) {
      told();
    }
  });
}

}  // namespace flowfs
