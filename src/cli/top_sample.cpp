// SPDX-License-Identifier: BSD-3-Clause
#include "cli/top_sample.hpp"

#include <sys/stat.h>

#include "cli/snapshot.hpp"

namespace flowfs::cli {
namespace {

// How long a sample under way is waited for at the end.
constexpr std::chrono::milliseconds kFarewell{500};

// A tree without pools has no such folder.
int look_at_pools(const Common& common, std::vector<PoolStatus>& pools) {
  const auto entries = list_folder(common.path("pools"));
  if (!entries) {
    const int error = entries.error().error;
    return has_gone(error) || is_hidden(error) ? 0 : error;
  }
  for (const std::string& entry : *entries) {
    struct stat about{};
    if (stat(common.path("pools/" + entry).c_str(), &about) == 0) {
      pools.push_back({.name = entry,
                       .owner = user_name(about.st_uid),
                       .size_bytes = static_cast<std::uint64_t>(about.st_size)});
    }
  }
  return 0;
}

}  // namespace

int take_sample(const Common& common, TopSample& sample) {
  sample.time_s = std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
  std::string object;
  if (const int error = take_snapshot(common, sample.snapshot, object); error != 0) {
    return error;
  }
  const Result<std::string> metrics = read_attribute(common.path("metrics"));
  if (metrics) {
    sample.metrics = Metrics::parse(*metrics);
  } else if (!is_hidden(metrics.error().error)) {
    return metrics.error().error;
  }
  return look_at_pools(common, sample.pools);
}

Sampler::Sampler(const Common& common, Micros delay) : shared_(std::make_shared<Shared>()) {
  shared_->common = common;
  shared_->delay = delay;
  thread_ = std::thread([shared = shared_] { run(shared); });
}

bool Sampler::stop() {
  std::unique_lock lock(shared_->mutex);
  shared_->stop = true;
  shared_->changed.notify_all();
  return shared_->changed.wait_for(lock, kFarewell, [&] { return shared_->state.answered; });
}

Sampler::~Sampler() {
  if (stop()) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

Sampler::State Sampler::state() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->state;
}

void Sampler::run(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock(shared->mutex);
  while (!shared->stop && shared->state.error == 0) {
    shared->state.asked = Clock::now();
    shared->state.answered = false;
    lock.unlock();
    auto sample = std::make_shared<TopSample>();
    const int error = take_sample(shared->common, *sample);
    lock.lock();
    State& state = shared->state;
    state.answered = true;
    state.error = error;
    if (error == 0) {
      state.before = std::exchange(state.now, std::move(sample));
    }
    shared->changed.notify_all();
    shared->changed.wait_for(lock, shared->delay, [&] { return shared->stop; });
  }
}

}  // namespace flowfs::cli
