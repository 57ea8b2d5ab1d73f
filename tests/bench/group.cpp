// SPDX-License-Identifier: BSD-3-Clause
#include "group.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "shared_memory.hpp"

namespace flowfs::bench {
namespace {

// A reader that has heard nothing for so long looks whether the senders are done.
constexpr Micros kSilence{200'000};

struct Frame {
  std::array<std::uint8_t, 6> to{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  std::array<std::uint8_t, 6> from{2, 0, 0, 0, 0, 0};
  std::array<std::uint8_t, 2> type{0x88, 0xb5};  // for experiments
  std::uint16_t unused = 0;
  std::uint64_t sender = 0;
  std::uint64_t number = 0;
};
static_assert(sizeof(Frame) == 32);

struct Heard {
  std::uint64_t messages = 0;
  Instant last{};
};

// One go: the warm-up, or what counts.
struct Phase {
  Latch ready;  // everybody is there
  Latch go;
  Latch sent;
  Latch heard;
  std::array<Heard, kMostParts> readers;
  std::array<double, kMostParts> sender_processor_s{};

  void set(const GroupSize& size) {
    ready.set(static_cast<std::uint32_t>(size.senders + size.readers));
    go.set(1);
    sent.set(static_cast<std::uint32_t>(size.senders));
    heard.set(static_cast<std::uint32_t>(size.readers));
  }
};

struct Stage {
  Latch joined;  // the readers
  std::array<Phase, 2> phases;

  void set(const GroupSize& size) {
    joined.set(static_cast<std::uint32_t>(size.readers));
    for (Phase& phase : phases) {
      phase.set(size);
    }
  }
};

void send_all(Part& part, Phase& phase, std::size_t number, std::size_t bytes, std::size_t count) {
  Frame frame;
  frame.sender = number;
  frame.from.back() = static_cast<std::uint8_t>(number + 1);
  std::vector<std::byte> message(bytes, std::byte{'x'});
  const double before = processor_seconds(0);
  for (frame.number = 0; frame.number < count; ++frame.number) {
    std::memcpy(message.data(), &frame, sizeof frame);
    part.send(message);
  }
  phase.sender_processor_s[number] = processor_seconds(0) - before;
  phase.sent.count_down();
}

// Counts in order, from each sender.
class Ears {
 public:
  void hear(std::span<const std::byte> message) {
    Frame frame;
    std::memcpy(&frame, message.data(), sizeof frame);
    if (frame.sender >= kMostParts || frame.number < next_[frame.sender]) {
      die("a message twice, or out of order");
    }
    next_[frame.sender] = frame.number + 1;
    ++heard_;
  }
  [[nodiscard]] std::uint64_t heard() const { return heard_; }

 private:
  std::array<std::uint64_t, kMostParts> next_{};
  std::uint64_t heard_ = 0;
};

void receive_all(Part& part, Phase& phase, std::size_t number, std::size_t bytes,
                 std::size_t expected) {
  std::vector<std::byte> message(bytes);
  Ears ears;
  Micros silent{0};
  while (ears.heard() < expected) {
    if (part.receive(message, kSilence)) {
      ears.hear(message);
    } else if (phase.sent.is_open()) {
      silent = kSilence;
      break;
    }
  }
  phase.readers[number] = {.messages = ears.heard(), .last = Clock::now() - silent};
  phase.heard.count_down();
}

// Senders come last, so that none finds nobody there.
std::unique_ptr<Part> join(const OpenPart& open, Stage& stage, Role role) {
  if (role.sends) {
    stage.joined.wait();
    return open(role);
  }
  auto part = open(role);
  stage.joined.count_down();
  return part;
}

void take_part(const OpenPart& open, Stage& stage, Role role, const GroupSize& size,
               std::size_t bytes, const std::array<std::size_t, 2>& counts) {
  const auto part = join(open, stage, role);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    Phase& phase = stage.phases[i];
    phase.ready.count_down();
    phase.go.wait();
    if (role.sends) {
      send_all(*part, phase, role.number, bytes, counts[i]);
    } else {
      receive_all(*part, phase, role.number, bytes, size.senders * counts[i]);
    }
    phase.heard.wait();  // leaving takes time of those that still read
  }
}

Traffic sum_up(const Phase& phase, const GroupSize& size, std::size_t count, Instant start) {
  Traffic traffic{.sent = size.senders * count};
  Instant last = start;
  for (std::size_t i = 0; i < size.readers; ++i) {
    traffic.delivered += phase.readers[i].messages;
    last = std::max(last, phase.readers[i].last);
  }
  for (std::size_t i = 0; i < size.senders; ++i) {
    traffic.senders_processor_s += phase.sender_processor_s[i];
  }
  traffic.lost = size.readers * traffic.sent - traffic.delivered;
  traffic.seconds = std::chrono::duration<double>(last - start).count();
  return traffic;
}

}  // namespace

Traffic run(const Group& group, const GroupSize& size, std::size_t bytes, std::size_t count,
            std::optional<pid_t> other) {
  const std::array<std::size_t, 2> counts{count / 10 + 1, count};
  const auto stage = share<Stage>();
  stage->set(size);
  const OpenPart open = group.prepare(size);
  std::vector<pid_t> processes;
  for (const bool sends : {false, true}) {
    for (std::size_t i = 0; i < (sends ? size.senders : size.readers); ++i) {
      processes.push_back(start_process(
          [&] { take_part(open, *stage, {.sends = sends, .number = i}, size, bytes, counts); }));
    }
  }
  Traffic traffic;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    Phase& phase = stage->phases[i];
    phase.ready.wait();
    const double before = other ? processor_seconds(*other) : 0;
    const Instant start = Clock::now();
    phase.go.count_down();
    phase.heard.wait();
    phase.sent.wait();  // the last may be heard before its sender has said what it took
    const std::uint64_t lost_before = traffic.lost;
    traffic = sum_up(phase, size, counts[i], start);
    traffic.lost += lost_before;
    traffic.other_processor_s = other ? processor_seconds(*other) - before : 0;
  }
  for (const pid_t process : processes) {
    finish_process(process);
  }
  if (!group.may_lose && traffic.lost != 0) {
    (void)std::fprintf(stderr, "%s lost messages\n", group.name.c_str());
    std::exit(1);
  }
  return traffic;
}

}  // namespace flowfs::bench
