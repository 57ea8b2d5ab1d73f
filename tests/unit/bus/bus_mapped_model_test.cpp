// SPDX-License-Identifier: BSD-3-Clause
// Random operations on a bus with mapped members, which read a log as libflowfs does, and know
// better than the bus what they have read and lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "bus/bus.hpp"

namespace flowfs::bus {
namespace {

// Extents alone: what is in the messages is nobody's concern here.
class Extents : public SharedLog {
 public:
  struct Entry {
    Extent extent;
    PortId sender{};
  };

  Extent append(PortId from, std::span<const std::byte> message) override {
    const std::uint64_t begin = end() + (entries.size() % 5 == 4 ? 64 : 0);  // padding
    entries.push_back(
        {.extent = {.begin = begin, .end = begin + message.size(), .sequence = entries.size()},
         .sender = from});
    return entries.back().extent;
  }
  [[nodiscard]] bool has_room(std::size_t length) const override {
    return end() - floor + length <= 1'000;
  }
  void give_up_to(std::uint64_t position) override { floor = position; }
  [[nodiscard]] std::span<const std::byte> message(std::uint64_t /*begin*/,
                                                   std::size_t length) const override {
    return std::span(bytes).first(length);
  }
  [[nodiscard]] std::uint64_t end() const override {
    return entries.empty() ? 0 : entries.back().extent.end;
  }
  [[nodiscard]] std::uint64_t sequence() const override { return entries.size(); }

  std::vector<Entry> entries;
  std::vector<std::byte> bytes = std::vector<std::byte>(64);
  std::uint64_t floor = 0;
};

// A member, and what is true of it.
struct Player : Member, MappedReader {
  void on_message() override {}
  void on_room() override {}
  void on_cut_off() override {}
  Said said() override { return told; }
  void await() override {}

  // One message, or nothing where there is none. Whether it is counted as one it skipped.
  bool read(const Extents& log, bool skips) {
    if (next < log.entries.size() && log.entries[next].extent.begin < log.floor) {
      const auto kept = std::ranges::find_if(
          log.entries, [&](const auto& entry) { return entry.extent.begin >= log.floor; });
      const auto place = static_cast<std::uint64_t>(kept - log.entries.begin());
      lost += place - next;
      next = place;
    }
    while (next < log.entries.size() && log.entries[next].sender == id) {
      ++next;
    }
    if (next == log.entries.size()) {
      return false;
    }
    (skips ? lost : received) += 1;
    bytes += skips ? 0 : log.entries[next].extent.end - log.entries[next].extent.begin;
    ++next;
    return true;
  }
  void tell(const Extents& log) {
    const std::uint64_t at = next == 0 ? 0 : log.entries[next - 1].extent.end;
    told = {.position = std::max(at, told.position), .lost = lost, .bytes = bytes};
  }

  PortId id{};
  bool mapped = false;
  bool sends = false;
  std::uint64_t next = 0;  // of the log's entries
  std::uint64_t received = 0;
  std::uint64_t lost = 0;
  std::uint64_t bytes = 0;
  std::uint64_t due = 0;
  Said told;
};

class Play {
 public:
  explicit Play(std::uint32_t seed) : random_(seed), bus_(limits_) { bus_.share(log_); }

  void step() {
    switch (pick(16)) {
      case 0:
        join();
        break;
      case 1:
        leave();
        break;
      case 2:
        if (pick(8) == 0) {
          change_limits();
        } else if (pick(2) == 0) {
          change_log();
        }
        break;
      case 3:
        look();
        break;
      case 4:
      case 5:
      case 6:
      case 7:
        read();
        break;
      default:
        send();
        break;
    }
    ASSERT_EQ(bus_.check_invariants(), "");
  }

  // What the bus counts is what is so.
  void look() {
    bus_.refresh(now_);
    std::uint64_t lag = 0;
    for (const auto& player : players_) {
      const PortCounts counts = bus_.counts(player->id);
      lag += counts.lag;
      ASSERT_EQ(counts.delivered + counts.dropped + counts.lag, player->due);
      if (player->mapped) {
        ASSERT_EQ(counts.delivered_bytes, player->bytes);
        // Of who sends too nobody can tell which of the messages that overtook it were its own.
        if (!player->sends) {
          ASSERT_EQ(counts.delivered, player->received);
        }
      }
    }
    ASSERT_EQ(bus_.totals().lag, lag);
  }

 private:
  std::uint32_t pick(std::uint32_t below) {
    return std::uniform_int_distribution(0U, below - 1)(random_);
  }
  Player* pick_player() {
    return players_.empty() ? nullptr
                            : players_[pick(static_cast<std::uint32_t>(players_.size()))].get();
  }
  void join() {
    if (players_.size() == 6) {
      return;
    }
    auto player = std::make_unique<Player>();
    player->id = PortId{++last_id_};
    player->mapped = pick(4) != 0;
    player->sends = pick(2) == 0;
    bus_.join(player->id, PortNumber{static_cast<std::uint32_t>(last_id_)}, *player,
              {.receive = true, .send = true});
    player->due = bus_.counts(player->id).lag;
    if (player->mapped) {
      const Bus::Start start = bus_.map(player->id, *player);
      player->next = start.sequence;
      player->told.position = start.position;
    }
    players_.push_back(std::move(player));
  }

  void leave() {
    if (Player* const player = pick_player(); player != nullptr) {
      bus_.leave(player->id, now_);
      std::erase_if(players_, [player](const auto& one) { return one.get() == player; });
    }
  }

  void change_limits() {
    limits_.lossless = pick(2) == 0;
    limits_.depth_bytes = 200 + pick(4000);
    limits_.history = pick(3) == 0 ? pick(5) : 0;
    bus_.set_limits(limits_, now_);
  }

  void change_log() {
    if (std::ranges::none_of(players_, &Player::mapped)) {
      bus_.unshare();
      log_.entries.clear();
      log_.floor = 0;
      bus_.share(log_);
    }
  }

  void send() {
    Player* const from = pick_player();
    if (from == nullptr || !from->sends) {
      return;
    }
    for (std::uint32_t left = 1 + pick(40); left > 0; --left) {
      const auto message = std::span(log_.bytes).first(1 + pick(60));
      if (bus_.send(from->id, message, now_) != SendOutcome::ok) {
        return;
      }
      for (const auto& player : players_) {
        player->due += player.get() != from ? 1 : 0;
      }
    }
  }

  void read() {
    Player* const player = pick_player();
    if (player == nullptr) {
      return;
    }
    for (std::uint32_t left = pick(60); left > 0; --left) {
      if (!player->mapped) {
        const Bus::Front front = bus_.front(player->id);
        if (front.outcome != ReadOutcome::ok) {
          break;
        }
        bus_.consume(player->id, front.rest.size(), now_);
      } else if (!player->read(log_, pick(6) == 0)) {
        break;
      }
    }
    if (player->mapped) {
      player->tell(log_);
    }
  }

  std::mt19937 random_;
  Limits limits_{.depth_bytes = 1000};
  Instant now_{};
  Extents log_;
  Bus bus_;
  std::vector<std::unique_ptr<Player>> players_;
  std::uint64_t last_id_ = 0;
};

TEST(BusMappedModelTest, counts_what_mapped_members_really_read) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    Play play(seed);
    for (int step = 0; step < 1000; ++step) {
      ASSERT_NO_FATAL_FAILURE(play.step()) << "seed " << seed << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace flowfs::bus
