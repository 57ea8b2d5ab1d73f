// SPDX-License-Identifier: BSD-3-Clause
// Runs simulations in child processes, so that a broken invariant (which aborts) and an endless
// loop are failures like others, and cuts a failing run down to few steps.
//
// Threads: one. Owns: the memory that children report into.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "simulation.hpp"

namespace flowfs::registry::sim {

using Steps = std::vector<std::uint64_t>;

class Runner {
 public:
  explicit Runner(bool lie);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  enum class Output { all, silent, trace };

  // Whether the steps all passed.
  bool passes(std::uint64_t seed, const Steps& steps, Output output);
  // Of the last run that failed: the step (one past all steps: the clearing up at the end), and
  // why.
  [[nodiscard]] std::uint64_t failed_step() const { return report_->step; }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] const Coverage& coverage() const { return report_->coverage; }

  // The smallest part of `steps` that was found still to fail, by leaving out ever smaller pieces.
  Steps minimise(std::uint64_t seed, Steps steps);

 private:
  struct Report {
    Coverage coverage;
    std::atomic<std::uint64_t> step{0};
    std::array<char, 1024> failure{};
  };
  [[noreturn]] void simulate(std::uint64_t seed, const Steps& steps, Output output);

  bool lie_;
  Report* report_;
  std::string failure_;
};

}  // namespace flowfs::registry::sim
