// SPDX-License-Identifier: BSD-3-Clause
#include "base/loop_impl.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/loop_operations.hpp"

namespace flowfs {
namespace {

// The loop that the calling thread is inside of.
thread_local const Loop::Impl* t_running = nullptr;

// IORING_SETUP_R_DISABLED leaves the ring without an owning thread until its first round.
constexpr std::array<unsigned, 3> kSetupFlags{
    IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,  // 6.1
    IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN,                                // 5.19
    IORING_SETUP_R_DISABLED,
};

bool ring_has_futex_wait(io_uring& ring) {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) {
    return false;
  }
  const bool supported = io_uring_opcode_supported(probe, IORING_OP_FUTEX_WAIT) != 0;
  io_uring_free_probe(probe);
  return supported;
}

}  // namespace

Result<std::unique_ptr<Loop::Impl>> Loop::Impl::create(unsigned entries, Features features) {
  std::unique_ptr<Impl> impl(new Impl);
  if (auto made = impl->set_up(entries, features); !made) {
    return std::unexpected(made.error());
  }
  return impl;
}

Status Loop::Impl::set_up(unsigned entries, Features features) {
  int error = -EINVAL;
  for (const unsigned flags : kSetupFlags) {
    if (error == -EINVAL && (features == Features::newest || flags == kSetupFlags.back())) {
      error = io_uring_queue_init(entries, &ring_, flags | IORING_SETUP_CLAMP);
    }
  }
  if (error != 0) {
    return fail(-error, "io_uring_setup");
  }
  ring_made_ = true;
  constexpr unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
  // A reader's two entries are submitted together.
  if ((ring_.features & needed) != needed || ring_.sq.ring_entries < 2) {
    return fail(ENOSYS, "io_uring features");
  }
  if (auto made = set_up_futexes(features); !made) {
    return made;
  }
  wake_up_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_up_) {
    return fail_errno("eventfd");
  }
  wake_up_reader_ = Reader(new ReadOperation(*this, wake_up_.get(), [this](std::int32_t) {
    read_wake_up();
    run_posted();
  }));
  read_wake_up();
  return {};
}

Status Loop::Impl::set_up_futexes(Features features) {
  if (features == Features::newest && ring_has_futex_wait(ring_)) {
    return {};
  }
  if (!FutexPool::supported()) {
    return fail(ENOSYS, "futex_waitv");
  }
  futex_pool_ = std::make_unique<FutexPool>([this](FutexPool::Waits waits) {
    post([ended = std::move(waits)] {
      for (const auto& wait : ended) {
        // Moved out first: the end of the wait destroys the function it is told by.
        if (const auto woken = std::exchange(wait->woken, nullptr); woken) {
          woken();
        }
      }
    });
  });
  return {};
}

Loop::Impl::~Impl() {
  FLOWFS_CHECK(!running_);
  futex_pool_.reset();  // its threads post
  if (ring_made_) {
    give_up_requests();
    io_uring_queue_exit(&ring_);
  }
  // What is destroyed from here on may own handles, which still find the lists of this loop.
  std::exchange(posted_, {}).clear();
  while (!operations_.empty()) {
    operations_.back()->detach();
  }
}

// Cancels every request under way and waits until the kernel has let go of each.
void Loop::Impl::give_up_requests() {
  while (requests_in_kernel_ > 0) {
    // Again and again: the second half of a reader's chain can begin between two of these.
    if (io_uring_sqe* entry = io_uring_get_sqe(&ring_); entry != nullptr) {
      io_uring_prep_cancel64(entry, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
      io_uring_sqe_set_data(entry, nullptr);
    }
    io_uring_cqe* first = nullptr;
    __kernel_timespec patience{.tv_sec = 0, .tv_nsec = 10'000'000};
    const int result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &patience, nullptr);
    if (result == -EEXIST) {
      // The ring's thread has ended, and a request of a dead thread touches no memory any more.
      return;
    }
    collect();
    for (const Completion& completion : completions_) {
      completion.operation->request_lost();
      --requests_in_kernel_;
    }
    completions_.clear();
  }
}

void Loop::Impl::run() {
  begin();
  while (!stopped_) {
    round(kNever);
  }
  stopped_ = false;
  end();
}

void Loop::Impl::run_once(Micros wait) {
  begin();
  round(wait <= Micros(0) ? Instant::min() : later(Clock::now(), wait));
  end();
}

void Loop::Impl::begin() {
  FLOWFS_CHECK(!running_);  // a callback must not run the loop
  running_ = true;
  t_running = this;
  if (!ring_enabled_) {
    FLOWFS_CHECK(io_uring_enable_rings(&ring_) == 0);
    ring_enabled_ = true;
  }
}

void Loop::Impl::end() {
  running_ = false;
  t_running = nullptr;
}

void Loop::Impl::round(Instant until) {
  ++rounds_;
  enter(std::min(until, timers_.soonest()));
  serve();
}

void Loop::Impl::serve() noexcept {
  // Callbacks do not add to the list: only entering the kernel does.
  for (const Completion& completion : completions_) {
    finish(*completion.operation, completion.result);
  }
  completions_.clear();
  if (timers_.soonest() != kNever) {
    timers_.expire(Clock::now());
  }
  if (posted_by_self_) {
    run_posted();
  }
}

void Loop::Impl::post(std::function<void()> task) {
  bool wake = false;
  {
    const std::lock_guard lock(posted_mutex_);
    wake = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (t_running == this) {
    posted_by_self_ = true;  // this round or the next looks before it sleeps
  } else if (wake) {
    const std::uint64_t one = 1;
    // Fails only where the count is at its limit, and then the loop is already being woken.
    (void)!::write(wake_up_.get(), &one, sizeof one);
  }
}

void Loop::Impl::run_posted() noexcept {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(posted_mutex_);
    tasks.swap(posted_);
  }
  posted_by_self_ = false;
  for (auto& task : tasks) {
    task();
    task = nullptr;
  }
}

void Loop::Impl::read_wake_up() {
  wake_up_reader_.read(std::as_writable_bytes(std::span(&wake_up_count_, 1)), {});
}

}  // namespace flowfs
