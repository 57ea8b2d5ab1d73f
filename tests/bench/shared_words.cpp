// SPDX-License-Identifier: BSD-3-Clause
#include "shared_words.hpp"

#include <atomic>
#include <memory>

#include "bare_ring.hpp"
#include "base/futex.hpp"
#include "shared_memory.hpp"

namespace flowfs::bench {
namespace {

// One for each direction, and each on lines of its own.
struct alignas(128) Word {
  FutexWord value = 0;
};
struct Words {
  Word directions[2];
};

class WordSide : public Side {
 public:
  WordSide(std::shared_ptr<Words> words, bool far) : words_(std::move(words)), far_(far) {}

 protected:
  [[nodiscard]] FutexWord& own() { return words_->directions[far_ ? 1 : 0].value; }
  [[nodiscard]] const FutexWord& peer() const { return words_->directions[far_ ? 0 : 1].value; }
  std::uint32_t sent_ = 0;
  std::uint32_t received_ = 0;

 private:
  std::shared_ptr<Words> words_;
  bool far_;
};

class LineSide final : public WordSide {
 public:
  using WordSide::WordSide;
  void send(std::span<const std::byte> /*message*/) override {
    // release, pairs with receive().
    own().store(++sent_, std::memory_order_release);
  }
  void receive(std::span<std::byte> /*message*/) override {
    ++received_;
    while (peer().load(std::memory_order_acquire) != received_) {
      relax();
    }
  }
};

class FutexSide final : public WordSide {
 public:
  using WordSide::WordSide;
  void send(std::span<const std::byte> /*message*/) override {
    // release, pairs with receive().
    own().store(++sent_, std::memory_order_release);
    futex_wake(&own());
  }
  void receive(std::span<std::byte> /*message*/) override {
    const std::uint32_t before = received_++;
    while (peer().load(std::memory_order_acquire) == before) {
      static_cast<void>(futex_wait(&peer(), before));  // whatever ended it: look again
    }
  }
};

// One for each direction.
struct Rings {
  Ring directions[2];
};

class RingSide final : public Side {
 public:
  RingSide(std::shared_ptr<Rings> rings, bool far, bool spins)
      : rings_(std::move(rings)),
        out_(rings_->directions[far ? 1 : 0], 1, spins),
        in_(rings_->directions[far ? 0 : 1], 0, spins) {}

  void send(std::span<const std::byte> message) override { out_.send(message); }
  void receive(std::span<std::byte> message) override { in_.receive(message); }

 private:
  std::shared_ptr<Rings> rings_;
  RingWriter out_;
  RingReader in_;
};

// The sender waits for the slowest reader; each of them reads everything.
class BroadcastPart final : public Part {
 public:
  BroadcastPart(std::shared_ptr<Ring> ring, Role role, std::size_t readers)
      : ring_(std::move(ring)), out_(*ring_, readers, false), in_(*ring_, role.number, false) {}

  void send(std::span<const std::byte> message) override { out_.send(message); }
  bool receive(std::span<std::byte> message, Micros patience) override {
    return in_.receive(message, patience);
  }

 private:
  std::shared_ptr<Ring> ring_;
  RingWriter out_;
  RingReader in_;
};

template <typename SideOfWords>
OpenSide open_words() {
  return [words = share<Words>()](bool far) { return std::make_unique<SideOfWords>(words, far); };
}

}  // namespace

Transport cache_line() {
  return {.name = "cache_line", .prepare = open_words<LineSide>, .spins = true, .speed = 8};
}

Transport raw_futex() { return {.name = "futex", .prepare = open_words<FutexSide>}; }

Transport bare_ring(bool spins) {
  return {.name = spins ? "bare_ring_spinning" : "bare_ring_blocking",
          .prepare = [spins]() -> OpenSide {
            return [rings = share<Rings>(), spins](bool far) {
              return std::make_unique<RingSide>(rings, far, spins);
            };
          },
          .spins = spins,
          .speed = 8};
}

Group bare_broadcast() {
  return {.name = "bare_broadcast_ring",
          .prepare = [](const GroupSize& size) -> OpenPart {
            return [ring = share<Ring>(), readers = size.readers](Role role) {
              return std::make_unique<BroadcastPart>(ring, role, readers);
            };
          },
          .speed = 4};
}

}  // namespace flowfs::bench
