// SPDX-License-Identifier: BSD-3-Clause
// One end of a flow as a thread: blocking send and receive over the sleep and wake protocol, with a
// deadline that makes a lost wake-up a failure and not a hang.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/futex.hpp"
#include "pool/bell.hpp"
#include "pool/lane.hpp"
#include "pool/shared.hpp"

namespace flowfs::race {

// Seconds that each hammer runs; FLOWFS_RACE_SECONDS for longer than CI has.
inline std::chrono::milliseconds hammer_time() {
  const char* text = std::getenv("FLOWFS_RACE_SECONDS");  // NOLINT(concurrency-mt-unsafe)
  const long seconds = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
  return seconds > 0 ? std::chrono::milliseconds(seconds * 1'000)
                     : std::chrono::milliseconds(2'500);
}

class LaneEnd {
 public:
  static constexpr std::chrono::seconds kPatience{20};

  LaneEnd(const pool::Geometry& geometry, std::span<std::byte> own, std::span<const std::byte> peer,
          pool::Generation own_generation, const pool::Position& write,
          pool::Generation peer_generation, const pool::Position& read)
      : own_(&pool::segment_header(own)),
        peer_(&pool::segment_header(peer)),
        writer_(geometry, own, peer, own_generation, write),
        reader_(geometry, peer, read),
        cursors_(geometry, own_->cursors, peer_generation, read),
        bell_(*own_, *peer_),
        data_(own_->sleep_data),
        room_(own_->sleep_room) {}

  // False: the wake-up was lost, or the peer lied.
  bool send(std::span<const std::byte> message) {
    while (true) {
      switch (writer_.stage(message)) {
        case pool::LaneWriter::Outcome::ok:
          return true;
        case pool::LaneWriter::Outcome::corrupt:
          return false;
        case pool::LaneWriter::Outcome::full:
          publish();
          if (!sleep(room_, [&] {
                return writer_.room_for(message.size()) == pool::LaneWriter::Outcome::full;
              })) {
            return false;
          }
      }
    }
  }
  // False: no room now.
  bool try_send(std::span<const std::byte> message) {
    return writer_.stage(message) == pool::LaneWriter::Outcome::ok;
  }
  void publish() {
    writer_.publish();
    rings_ += bell_.wake_data() ? 1U : 0U;
  }

  // Calls `take(payload)` for one message. False as for send().
  template <typename F>
  bool receive(F take) {
    pool::LaneReader::Record record;
    while (true) {
      switch (reader_.peek(record)) {
        case pool::LaneReader::Outcome::record:
          take(record.payload);
          reader_.pop();
          if (cursors_.due(reader_.position())) {
            publish_cursors();
          }
          return true;
        case pool::LaneReader::Outcome::empty:
          publish_cursors();
          if (!sleep(data_,
                     [&] { return reader_.peek(record) == pool::LaneReader::Outcome::empty; })) {
            return false;
          }
          break;
        default:
          return false;
      }
    }
  }

  [[nodiscard]] std::uint64_t sleeps() const { return sleeps_; }
  [[nodiscard]] std::uint64_t rings() const { return rings_; }

 private:
  void publish_cursors() {
    if (cursors_.behind(reader_.position())) {
      cursors_.publish(reader_.position());
      rings_ += bell_.wake_room() ? 1U : 0U;
    }
  }
  template <typename F>
  bool sleep(pool::Sleeper& sleeper, F nothing_there) {
    const std::uint32_t bell = sleeper.begin(peer_->bell);
    bool woken = true;
    if (nothing_there()) {
      ++sleeps_;
      woken = futex_wait(pool::futex_word(peer_->bell), bell, later(Clock::now(), kPatience)) !=
              FutexOutcome::timed_out;
    }
    sleeper.end();
    return woken;
  }

  flowfs_segment* own_;
  const flowfs_segment* peer_;
  pool::LaneWriter writer_;
  pool::LaneReader reader_;
  pool::CursorPublisher cursors_;
  pool::Bell bell_;
  pool::Sleeper data_;
  pool::Sleeper room_;
  std::uint64_t sleeps_ = 0;
  std::uint64_t rings_ = 0;
};

// A message that says which it is, of a length that follows from its number.
class Numbered {
 public:
  explicit Numbered(std::size_t longest) : longest_(longest), bytes_(longest) {}
  std::span<const std::byte> make(std::uint64_t number) {
    const std::size_t length = length_of(number);
    std::memset(bytes_.data(), static_cast<int>(number & 0xff), length);
    std::memcpy(bytes_.data(), &number, sizeof number);
    return {bytes_.data(), length};
  }
  [[nodiscard]] bool matches(std::uint64_t number, std::span<const std::byte> message) {
    if (message.size() != length_of(number)) {
      return false;
    }
    std::memcpy(bytes_.data(), message.data(), message.size());  // first the copy, then the look
    std::uint64_t found = 0;
    std::memcpy(&found, bytes_.data(), sizeof found);
    const auto fill = static_cast<std::byte>(number & 0xff);
    return found == number &&
           (message.size() == sizeof found || bytes_[message.size() - 1] == fill);
  }

 private:
  // Mostly short, now and then as long as may be.
  [[nodiscard]] std::size_t length_of(std::uint64_t number) const {
    const std::uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15ULL >> 32U;
    const std::uint64_t most = mixed % 16 == 0 ? longest_ : 64;
    return 8 + mixed / 16 % (most - 7);
  }

  std::size_t longest_;
  std::vector<std::byte> bytes_;
};

}  // namespace flowfs::race
