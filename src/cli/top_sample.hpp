// SPDX-License-Identifier: BSD-3-Clause
// Takes the samples of `flowctl top`, at once or in a thread of its own.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/clock.hpp"
#include "cli/command.hpp"
#include "cli/top_view.hpp"

namespace flowfs::cli {

// 0, or the errno that kept it from looking.
int take_sample(const Common& common, TopSample& sample);

// A sample every `delay`, taken aside: a daemon that does not answer must not keep a terminal from
// answering.
//
// Threads: one of its own; the calls from the one that made it. After stop() was false, the process
// ends with _exit().
class Sampler {
 public:
  Sampler(const Common& common, Micros delay);
  // Ends it. False: its thread waits for the daemon, and nothing but the end of the process ends
  // that.
  bool stop();
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  struct State {
    std::shared_ptr<const TopSample> before;
    std::shared_ptr<const TopSample> now;  // empty: there are not yet two
    int error = 0;                         // of the last sample; there will be no other
    Instant asked{};                       // when the last sample was begun
    bool answered = true;                  // and whether it is there
  };
  [[nodiscard]] State state() const;

 private:
  // Shared with the thread, which may outlive this object.
  struct Shared {
    Common common;
    Micros delay{};
    std::mutex mutex;
    std::condition_variable changed;
    bool stop = false;
    State state;
  };
  static void run(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace flowfs::cli
