// SPDX-License-Identifier: BSD-3-Clause
#include "minimise.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace flowfs::registry::sim {

namespace {

constexpr unsigned kLongestRunSeconds = 120;
constexpr std::chrono::seconds kLongestSearch{30};

[[noreturn]] void give_up(const char* step) {
  std::perror(step);
  std::exit(2);
}

}  // namespace

Runner::Runner(bool lie) : lie_(lie) {
  void* memory =
      mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    give_up("mmap");
  }
  report_ = new (memory) Report;
}

Runner::~Runner() { munmap(report_, sizeof(Report)); }

bool Runner::passes(std::uint64_t seed, const Steps& steps, Output output) {
  report_->failure.fill('\0');
  (void)std::fflush(nullptr);  // else the child writes it again
  const pid_t child = fork();
  if (child < 0) {
    give_up("fork");
  }
  if (child == 0) {
    simulate(seed, steps, output);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) {
    give_up("waitpid");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return true;
  }
  failure_ = report_->failure.data();
  if (failure_.empty()) {
    failure_ = WIFSIGNALED(status) ? fmt::format("ended by signal {}", WTERMSIG(status))
                                   : fmt::format("ended with {}", WEXITSTATUS(status));
  }
  return false;
}

// In the child.
void Runner::simulate(std::uint64_t seed, const Steps& steps, Output output) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  alarm(kLongestRunSeconds);
  if (output == Output::silent) {
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDERR_FILENO);
  }
  Simulation simulation(seed, {.trace = output == Output::trace, .lie = lie_}, report_->coverage);
  std::string failure;
  for (const std::uint64_t number : steps) {
    report_->step = number;
    if (output == Output::trace) {
      fmt::print("step {}\n", number);
    }
    failure = simulation.step(number);
    if (!failure.empty()) {
      break;
    }
  }
  if (failure.empty()) {
    report_->step = steps.empty() ? 0 : steps.back() + 1;
    failure = simulation.finish();
  }
  (void)std::fflush(nullptr);
  const std::size_t length = std::min(failure.size(), report_->failure.size() - 1);
  std::copy_n(failure.begin(), length, report_->failure.begin());
  _exit(failure.empty() ? 0 : 1);
}

Steps Runner::minimise(std::uint64_t seed, Steps steps) {
  const auto until = std::chrono::steady_clock::now() + kLongestSearch;
  // What comes after the step that failed cannot matter.
  std::erase_if(steps, [last = failed_step()](std::uint64_t number) { return number > last; });
  for (std::size_t piece = std::max<std::size_t>(1, steps.size() / 2); piece > 0;) {
    bool smaller = false;
    for (std::size_t begin = 0; begin < steps.size();) {
      if (std::chrono::steady_clock::now() > until) {
        return steps;
      }
      const std::size_t end = std::min(begin + piece, steps.size());
      Steps fewer(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(begin));
      fewer.insert(fewer.end(), steps.begin() + static_cast<std::ptrdiff_t>(end), steps.end());
      if (passes(seed, fewer, Output::silent)) {
        begin = end;
      } else {
        steps = std::move(fewer);
        smaller = true;
      }
    }
    if (piece > 1 || !smaller) {
      piece /= 2;
    }
  }
  return steps;
}

}  // namespace flowfs::registry::sim
