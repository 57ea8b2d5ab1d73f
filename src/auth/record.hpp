// SPDX-License-Identifier: BSD-3-Clause
// Packets of an encrypted flow, one direction of it: sealed at one end, opened at the other,
// whatever is lost, doubled or changes places between them.
//
// Shape: docs/oap.md. A record is a header of 12 bytes (epoch and number, in clear, authenticated),
// the ciphertext, and a tag of 16 bytes. Every epoch has a key of its own, which follows in one
// step from the secret of the direction: a receiver that missed many epochs joins the present one.
// Threads: one at a time.
// Errors: outcomes.
// Invariants:
//   1. No nonce is used twice with a key: the number goes into it, and grows with each record.
//   2. Nothing of an opener changes, but its counters, before the tag of a record was right.
//   3. A record is opened at most once.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "auth/aead.hpp"
#include "auth/policy.hpp"
#include "auth/replay_window.hpp"
#include "base/clock.hpp"

namespace flowfs::auth {

inline constexpr std::size_t kRecordHeader = 12;
inline constexpr std::size_t kRecordOverhead = kRecordHeader + Aead::kTagBytes;

// The same at both ends.
struct RekeyLimits {
  std::uint64_t records = std::uint64_t{1} << 20;  // of an epoch
  Instant::duration time = std::chrono::seconds(120);
  Instant::duration keep_old = std::chrono::seconds(30);  // a key, after its epoch
  std::uint32_t last_epoch = std::numeric_limits<std::uint32_t>::max();
};

// How far a direction has come: what was numbered below `next` in `epoch`, or is of an epoch before
// it, is over.
struct RecordMark {
  std::uint32_t epoch = 0;
  std::uint64_t next = 0;
  bool operator==(const RecordMark&) const = default;
};

// Behind a record, by what its header says. It is as long as a header.
RecordMark mark_behind(View record);

// A key of one epoch.
struct EpochKey {
  static Result<EpochKey> derive(const Choice& choice, View secret, std::uint32_t epoch,
                                 Aead::Use use);
  [[nodiscard]] Aead::Nonce nonce(std::uint64_t number) const;

  std::uint32_t epoch;
  Aead aead;
  Aead::Nonce mask;
};

class RecordSealer {
 public:
  enum class [[nodiscard]] Outcome { ok, exhausted };

  // Begins with `first_epoch`. EINVAL: not a choice that encrypts.
  static Result<RecordSealer> create(const Choice& choice, Secret secret, Instant now,
                                     const RekeyLimits& limits = {}, std::uint32_t first_epoch = 0);

  // Makes a record of `plain`, kRecordOverhead longer, which may lie in its place there:
  // record.subspan(kRecordHeader, plain.size()). Once the epochs are used up, nothing can be sealed
  // any more.
  Outcome seal(View plain, std::span<std::byte> record, Instant now);
  [[nodiscard]] std::uint32_t epoch() const { return key_.epoch; }

 private:
  RecordSealer(const Choice& choice, Secret secret, EpochKey key, Instant now,
               const RekeyLimits& limits)
      : choice_(choice),
        limits_(limits),
        secret_(std::move(secret)),
        key_(std::move(key)),
        began_(now) {}
  bool next_epoch(Instant now);

  Choice choice_;
  RekeyLimits limits_;
  Secret secret_;
  EpochKey key_;
  Instant began_;  // the epoch
  std::uint64_t next_ = 0;
};

class RecordOpener {
 public:
  enum class [[nodiscard]] Outcome { ok, malformed, stale, replayed, forged };
  struct Counters {
    std::uint64_t opened = 0;
    std::uint64_t malformed = 0;  // too short, or a number beyond its epoch
    std::uint64_t stale = 0;      // of an epoch whose key is gone
    std::uint64_t replayed = 0;   // seen before, or too far behind to know
    std::uint64_t forged = 0;     // the tag is not right
  };

  // Opens nothing that is over by `begin`.
  static Result<RecordOpener> create(const Choice& choice, Secret secret,
                                     const RekeyLimits& limits = {}, const RecordMark& begin = {});

  // Decrypts a record into `out`, kRecordOverhead shorter, which may be the ciphertext's place.
  // Where the tag is not right, `out` holds zeros.
  Outcome open(View record, std::span<std::byte> out, Instant now);
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] std::uint32_t epoch() const { return now_.key.epoch; }

 private:
  struct Epoch {
    EpochKey key;
    ReplayWindow window;
  };
  RecordOpener(const Choice& choice, Secret secret, Epoch first, const RekeyLimits& limits)
      : choice_(choice), limits_(limits), secret_(std::move(secret)), now_(std::move(first)) {}
  Outcome try_open(View record, std::span<std::byte> out, Instant now);
  using Header = std::array<std::byte, kRecordHeader>;
  static Outcome open_in(Epoch& epoch, const Header& header, std::uint64_t number, View record,
                         std::span<std::byte> out);
  void advance(Epoch next, Instant now);

  Choice choice_;
  RekeyLimits limits_;
  Secret secret_;
  Epoch now_;
  std::optional<Epoch> before_;  // for what was overtaken
  Instant forget_{};             // when `before_` goes
  Counters counters_;
};

}  // namespace flowfs::auth
