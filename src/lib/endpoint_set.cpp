// SPDX-License-Identifier: BSD-3-Clause
#include "lib/endpoint_set.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>

#include "base/futex_any.hpp"

namespace flowfs::lib {
namespace {

constexpr std::size_t kReportsAtOnce = 64;

static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT);

// Rounded up, so that a wait is not over before its deadline; a longer one is made in parts.
int milliseconds_to(Instant deadline) {
  if (deadline == kNever) {
    return -1;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, INT_MAX));
}

}  // namespace

Status EndpointSet::add(End& end, void* handle, void* data, std::uint32_t events) {
  if (std::ranges::find(members_, &end, &Member::end) != members_.end()) {
    return fail(EEXIST, "in the set already");
  }
  members_.push_back({.end = &end, .handle = handle, .data = data, .interest = events});
  return {};
}

Status EndpointSet::remove(const End& end) {
  const auto found = std::ranges::find(members_, &end, &Member::end);
  if (found == members_.end()) {
    return fail(ENOENT, "not in the set");
  }
  if (found->registered) {
    const auto descriptor = found->end->descriptor();
    if (descriptor && ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, *descriptor, nullptr) != 0) {
      return fail_errno("epoll");
    }
  }
  members_.erase(found);
  return {};
}

// What the member would do now without waiting. A pending one that is up by now says so itself.
std::uint32_t EndpointSet::ready_for(const Member& member) {
  if (!member.end->is_mapped()) {
    member.end->settle();
  }
  if (!member.end->is_mapped()) {
    return member.reported;
  }
  std::uint32_t ready = 0;
  if ((member.interest & POLLIN) != 0 &&
      member.end->with_receiver([](Pollable& receiver) { return receiver.is_ready(); })) {
    ready |= POLLIN;
  }
  if ((member.interest & POLLOUT) != 0 &&
      member.end->with_sender([](Pollable& sender) { return sender.is_ready(); })) {
    ready |= POLLOUT;
  }
  return ready;
}

std::size_t EndpointSet::collect(std::span<Event> events) {
  std::size_t found = 0;
  std::size_t passed = 0;
  for (; passed < members_.size() && found < events.size(); ++passed) {
    const Member& member = members_[(first_ + passed) % members_.size()];
    if (const std::uint32_t ready = ready_for(member); ready != 0) {
      events[found++] = {.handle = member.handle, .data = member.data, .events = ready};
    }
  }
  first_ = members_.empty() ? 0 : (first_ + passed) % members_.size();
  return found;
}

bool EndpointSet::sleeps_on_bells() const {
  std::size_t bells = 0;
  for (const Member& member : members_) {
    if (!member.end->is_mapped()) {
      return false;
    }
    bells +=
        ((member.interest & POLLIN) != 0 ? 1U : 0U) + ((member.interest & POLLOUT) != 0 ? 1U : 0U);
  }
  return bells != 0 && bells <= kMostFutexes && !no_waitv_;
}

bool EndpointSet::arm_all(std::vector<Doorbell>& bells) {
  bells.clear();
  for (const Member& member : members_) {
    if (!member.end->is_mapped()) {
      continue;
    }
    if ((member.interest & POLLIN) != 0) {
      auto bell = member.end->with_receiver([](Pollable& receiver) { return receiver.arm(); });
      if (!bell) {
        return false;
      }
      bells.push_back(std::move(*bell));
    }
    if ((member.interest & POLLOUT) != 0) {
      auto bell = member.end->with_sender([](Pollable& sender) { return sender.arm(); });
      if (!bell) {
        return false;
      }
      bells.push_back(std::move(*bell));
    }
  }
  return true;
}

void EndpointSet::disarm_all() {
  for (const Member& member : members_) {
    if (member.end->is_mapped()) {
      member.end->with_receiver([](Pollable& receiver) { receiver.disarm(); });
      member.end->with_sender([](Pollable& sender) { sender.disarm(); });
    }
  }
}

// Into the epoll set with whoever is not there yet: from the first time that it is needed on.
Status EndpointSet::register_all() {
  if (!epoll_) {
    epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_) {
      return fail_errno("epoll");
    }
  }
  for (Member& member : members_) {
    if (member.registered) {
      continue;
    }
    const auto descriptor = member.end->descriptor();
    if (!descriptor) {
      return std::unexpected(descriptor.error());
    }
    epoll_event wanted{.events = member.interest, .data = {.ptr = member.end}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, *descriptor, &wanted) != 0) {
      return fail_errno("epoll");
    }
    member.registered = true;
  }
  return {};
}

Status EndpointSet::poll(int timeout_ms) {
  if (const Status registered = register_all(); !registered) {
    return registered;
  }
  for (Member& member : members_) {
    member.reported = 0;
  }
  std::array<epoll_event, kReportsAtOnce> reports{};
  const int got = ::epoll_wait(epoll_.get(), reports.data(), reports.size(), timeout_ms);
  if (got < 0) {
    return errno == EINTR ? Status{} : fail_errno("epoll");
  }
  for (const epoll_event& report : std::span(reports).first(static_cast<std::size_t>(got))) {
    const auto member = std::ranges::find(members_, report.data.ptr, &Member::end);
    // Whatever is wrong with it, the calls on it say.
    const std::uint32_t ready = report.events & member->interest;
    member->reported = ready != 0 ? ready : member->interest;
  }
  return {};
}

Status EndpointSet::sleep(const std::vector<Doorbell>& bells, Instant deadline) {
  if (!sleeps_on_bells()) {
    return poll(milliseconds_to(deadline));
  }
  std::array<FutexExpectation, kMostFutexes> words{};
  std::ranges::transform(bells, words.begin(), [](const Doorbell& bell) {
    return FutexExpectation{.word = bell.word, .value = bell.value};
  });
  const auto outcome = futex_wait_any(std::span(words).first(bells.size()), deadline);
  no_waitv_ = outcome == FutexAnyOutcome::unsupported;
  return {};
}

Result<std::size_t> EndpointSet::wait(std::span<Event> events, const Wait& wait) {
  std::vector<Doorbell> bells;
  while (true) {
    if (!std::ranges::all_of(members_, [](const Member& m) { return m.end->is_mapped(); })) {
      if (const Status polled = poll(0); !polled) {
        return std::unexpected(polled.error());
      }
    }
    std::size_t found = collect(events);
    if (found == 0 && wait.blocks && sleeps_on_bells()) {
      const auto looks = static_cast<std::uint32_t>(members_.size());
      static_cast<void>(spin_.spin([&] { return (found = collect(events)) != 0; }, 0, looks));
    }
    if (found != 0) {
      return found;
    }
    if (!wait.blocks || wait.is_over()) {
      return std::unexpected(wait.timed_out().error());
    }
    if (!spin_.may_sleep()) {
      continue;
    }
    Status slept;
    if (arm_all(bells)) {
      slept = sleep(bells, wait.deadline());
    }
    disarm_all();
    if (!slept) {
      return std::unexpected(slept.error());
    }
  }
}

}  // namespace flowfs::lib
