// SPDX-License-Identifier: BSD-3-Clause
#include "shared_words.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <new>

#include "base/futex.hpp"

namespace flowfs::bench {
namespace {

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Memory that a forked process shares; gone with the last process that has it.
template <typename T>
std::shared_ptr<T> share() {
  void* const place = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (place == MAP_FAILED) {
    die("mmap");
  }
  return std::shared_ptr<T>(new (place) T, [](T* shared) { munmap(shared, sizeof(T)); });
}

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

// Records of a commit word and a payload, 16-aligned. Positions count bytes; 0 in `commit`: none.
struct Ring {
  static constexpr std::size_t kBytes = std::size_t{1} << 20U;
  static constexpr std::size_t kHeader = 16;
  static constexpr std::uint32_t kPadding = UINT32_MAX;

  alignas(128) std::atomic<std::uint64_t> cursor = 0;  // the reader's, every quarter
  alignas(128) FutexWord reader_sleeps = 0;
  FutexWord writer_sleeps = 0;
  alignas(128) FutexWord bell = 0;  // for both
  alignas(128) std::byte bytes[kBytes]{};

  FutexWord& commit_at(std::uint64_t position) {
    return *reinterpret_cast<FutexWord*>(&bytes[position % kBytes]);
  }
};

// Sleeping as in any such ring: tell, look again, wait; after a change look whether anybody sleeps.
// seq_cst throughout: of a store here and a load there at least one is seen.
template <typename Ready>
void wait_until(bool spins, Ring& ring, FutexWord& sleeps, Ready ready) {
  while (!ready()) {
    if (spins) {
      relax();
      continue;
    }
    const std::uint32_t bell = ring.bell.load(std::memory_order_seq_cst);
    sleeps.store(1, std::memory_order_seq_cst);
    if (!ready()) {
      static_cast<void>(futex_wait(&ring.bell, bell));
    }
  }
}

void wake(Ring& ring, FutexWord& sleeps) {
  if (sleeps.load(std::memory_order_seq_cst) != 0) {
    sleeps.store(0, std::memory_order_seq_cst);
    ring.bell.fetch_add(1, std::memory_order_seq_cst);
    futex_wake(&ring.bell);
  }
}

// One for each direction.
struct Rings {
  Ring directions[2];
};

class RingSide final : public Side {
 public:
  RingSide(std::shared_ptr<Rings> rings, bool far, bool spins)
      : rings_(std::move(rings)),
        out_(rings_->directions[far ? 1 : 0]),
        in_(rings_->directions[far ? 0 : 1]),
        spins_(spins) {}

  void send(std::span<const std::byte> message) override {
    const std::size_t need = record_bytes(message.size());
    const std::size_t left = Ring::kBytes - written_ % Ring::kBytes;
    const std::size_t padding = need > left ? left : 0;
    // One header more: the commit word behind the record is cleared before the record appears.
    const std::uint64_t end = written_ + padding + need + Ring::kHeader;
    if (end - seen_ > Ring::kBytes) {
      wait_until(spins_, out_, out_.writer_sleeps, [&] {
        // seq_cst, pairs with publish().
        seen_ = out_.cursor.load(std::memory_order_seq_cst);
        return end - seen_ <= Ring::kBytes;
      });
    }
    const std::uint64_t at = written_ + padding;
    // relaxed: the commit below publishes it.
    out_.commit_at(at + need).store(0, std::memory_order_relaxed);
    std::memcpy(&out_.bytes[at % Ring::kBytes + Ring::kHeader], message.data(), message.size());
    const auto length = static_cast<std::uint32_t>(message.size());
    // seq_cst, pairs with receive(): the payload, and the look at who sleeps.
    if (padding != 0) {
      out_.commit_at(at).store(length, std::memory_order_relaxed);
      out_.commit_at(written_).store(Ring::kPadding, std::memory_order_seq_cst);
    } else {
      out_.commit_at(at).store(length, std::memory_order_seq_cst);
    }
    written_ = at + need;
    wake(out_, out_.reader_sleeps);
  }

  void receive(std::span<std::byte> message) override {
    std::uint32_t length = await_commit();
    if (length == Ring::kPadding) {
      read_ += Ring::kBytes - read_ % Ring::kBytes;
      length = await_commit();
    }
    if (length != message.size()) {
      die("a message of another length");
    }
    std::memcpy(message.data(), &in_.bytes[read_ % Ring::kBytes + Ring::kHeader], length);
    read_ += record_bytes(length);
    if (read_ - published_ >= Ring::kBytes / 4) {
      publish();
    }
  }

 private:
  static std::size_t record_bytes(std::size_t payload) {
    return (Ring::kHeader + payload + 15) / 16 * 16;
  }
  std::uint32_t await_commit() {
    FutexWord& commit = in_.commit_at(read_);
    std::uint32_t length = 0;
    wait_until(spins_, in_, in_.reader_sleeps, [&] {
      // seq_cst, pairs with send(): the payload.
      length = commit.load(std::memory_order_seq_cst);
      return length != 0;
    });
    return length;
  }
  void publish() {
    published_ = read_;
    // seq_cst, pairs with send(): nothing before it is read again.
    in_.cursor.store(read_, std::memory_order_seq_cst);
    wake(in_, in_.writer_sleeps);
  }

  std::shared_ptr<Rings> rings_;
  Ring& out_;
  Ring& in_;
  bool spins_;
  std::uint64_t written_ = 0;
  std::uint64_t seen_ = 0;  // of the peer's cursor
  std::uint64_t read_ = 0;
  std::uint64_t published_ = 0;
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

}  // namespace flowfs::bench
