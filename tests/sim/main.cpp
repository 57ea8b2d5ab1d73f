// SPDX-License-Identifier: BSD-3-Clause
// flowfs_sim: drives the registry through random worlds beside a simple model, and shows the
// shortest way to any difference.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <getopt.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <random>
#include <string_view>

#include "minimise.hpp"

namespace {

using flowfs::registry::sim::kOperationNames;
using flowfs::registry::sim::kOutcomes;
using flowfs::registry::sim::Runner;
using flowfs::registry::sim::Steps;

constexpr const char* kUsage =
    "usage: flowfs_sim [--seed N] [--runs N] [--steps N] [--only STEP,STEP,...] [--trace]\n"
    "                  [--complete] [--lie]\n"
    "  --seed N    the first world (default: a random one, which is printed)\n"
    "  --runs N    how many worlds, seeds counting up (default 1)\n"
    "  --steps N   operations in each (default 20000)\n"
    "  --only ...  do these steps alone, as printed for a failure\n"
    "  --trace     print each operation and its effects\n"
    "  --complete  fail unless every outcome of every operation was seen\n"
    "  --lie       break a rule of the model and succeed when that is noticed and cut down\n";

// A lie that takes more steps than this to show was not cut down.
constexpr std::size_t kFewSteps = 60;

struct Arguments {
  std::optional<std::uint64_t> seed;
  std::uint64_t runs = 1;
  std::uint64_t steps = 20'000;
  Steps only;
  bool trace = false;
  bool complete = false;
  bool lie = false;
};

[[noreturn]] void refuse() {
  (void)std::fputs(kUsage, stderr);
  std::exit(2);
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    refuse();
  }
  return value;
}

Steps numbers(std::string_view text) {
  Steps steps;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    steps.push_back(number(text.substr(0, comma)));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return steps;
}

Arguments parse(int argc, char** argv) {
  const option options[] = {
      {"seed", required_argument, nullptr, 's'},  {"runs", required_argument, nullptr, 'r'},
      {"steps", required_argument, nullptr, 'n'}, {"only", required_argument, nullptr, 'o'},
      {"trace", no_argument, nullptr, 't'},       {"complete", no_argument, nullptr, 'c'},
      {"lie", no_argument, nullptr, 'l'},         {nullptr, 0, nullptr, 0}};
  Arguments arguments;
  for (int found = 0; (found = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (found) {
      case 's':
        arguments.seed = number(optarg);
        break;
      case 'r':
        arguments.runs = number(optarg);
        break;
      case 'n':
        arguments.steps = number(optarg);
        break;
      case 'o':
        arguments.only = numbers(optarg);
        break;
      case 't':
        arguments.trace = true;
        break;
      case 'c':
        arguments.complete = true;
        break;
      case 'l':
        arguments.lie = true;
        break;
      default:
        refuse();
    }
  }
  if (optind != argc) {
    refuse();
  }
  return arguments;
}

// Shows the shortest way to the failure; returns its number of steps.
std::size_t explain(Runner& runner, std::uint64_t seed, const Steps& steps) {
  fmt::print("seed {} failed at step {} of {}: {}\n", seed, runner.failed_step(), steps.size(),
             runner.failure());
  const Steps fewest = runner.minimise(seed, steps);
  fmt::print("cut down to {} steps:\n", fewest.size());
  runner.passes(seed, fewest, Runner::Output::trace);
  fmt::print("  {}\nreplay: flowfs_sim --seed {} --trace --only {}\n", runner.failure(), seed,
             fmt::join(fewest, ","));
  return fewest.size();
}

bool is_complete(const Runner& runner) {
  bool complete = true;
  for (std::size_t index = 0; index < kOutcomes.size(); ++index) {
    if (runner.coverage().seen[index] == 0) {
      const auto operation = static_cast<std::size_t>(kOutcomes[index].operation);
      fmt::print("never seen: {} with error {}\n", kOperationNames[operation],
                 kOutcomes[index].error);
      complete = false;
    }
  }
  return complete;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  const std::uint64_t first = arguments.seed ? *arguments.seed : std::random_device{}();
  const auto output = arguments.trace ? Runner::Output::trace : Runner::Output::all;
  const auto start = std::chrono::steady_clock::now();
  fmt::print("flowfs_sim: {} runs of {} steps from seed {}\n", arguments.runs, arguments.steps,
             first);
  Steps steps = arguments.only;
  if (steps.empty()) {
    steps.resize(arguments.steps);
    std::iota(steps.begin(), steps.end(), std::uint64_t{0});
  }
  Runner runner(arguments.lie);
  for (std::uint64_t seed = first; seed < first + arguments.runs; ++seed) {
    if (!runner.passes(seed, steps, output)) {
      const std::size_t fewest = explain(runner, seed, steps);
      return arguments.lie && fewest <= kFewSteps ? EXIT_SUCCESS : EXIT_FAILURE;
    }
  }
  const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start);
  fmt::print("no difference; most ends at once {}, {:.1f} s\n", runner.coverage().most_ends.load(),
             took.count());
  const bool complete = !arguments.complete || is_complete(runner);
  return complete && !arguments.lie ? EXIT_SUCCESS : EXIT_FAILURE;
}
