// SPDX-License-Identifier: BSD-3-Clause
// Advisory locks on files: who holds which bytes, and who waits for them. Pure.
//
// Source: flock(2), fcntl(2) (F_SETLK and its kin), with Linux's local filesystems as the model.
// Shape: a space of its own for each node and each kind of lock, as the two kinds do not see each
//        other. A flock lock is the whole range of its space.
// Units: bytes; ranges include both their ends.
// Threads: any one at a time.
// Errors: Outcome. What is not granted changes nothing, but for `flock`: changing its mode gives
//         the old lock away first, so that two who share a lock can both ask for it alone.
// Fairness: what nobody's lock stands against is granted at once, even past others that wait; those
//           are then served in the order they came.
// Invariants:
//   1. An owner's ranges in a space are sorted and disjoint, and two that touch differ in mode.
//   2. Ranges of different owners overlap only if both are shared.
//   3. Against every claim that waits stands a lock of the owner that it is behind.
//   4. A file has at most kMostRanges ranges in a space, a space at most kMostOwners owners with
//      locks and kMostWaiting claims, and a space with neither does not exist: nothing is left
//      behind once every file has been dropped.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace flowfs::fs {

enum class LockKind : std::uint8_t { flock, posix };
enum class LockMode : std::uint8_t { shared, exclusive };

// Where the kernel's offsets end: a range up to here is one without an end.
inline constexpr std::uint64_t kLastByte = INT64_MAX;

struct LockRange {
  std::uint64_t first = 0;
  std::uint64_t last = kLastByte;

  [[nodiscard]] constexpr bool overlaps(const LockRange& other) const {
    return first <= other.last && other.first <= last;
  }
  friend constexpr bool operator==(const LockRange&, const LockRange&) = default;
};

struct LockSpan {
  LockRange range;
  LockMode mode{};

  friend constexpr bool operator==(const LockSpan&, const LockSpan&) = default;
};

// Replaces what `spans` (as in invariant 1) says of `range` by `mode`, or by no lock.
std::vector<LockSpan> with_span(const std::vector<LockSpan>& spans, LockRange range,
                                std::optional<LockMode> mode);

struct LockSpace {
  std::uint64_t node = 0;
  LockKind kind{};

  friend constexpr bool operator==(const LockSpace&, const LockSpace&) = default;
};

// Who asks for what. `file` tells open files apart and is never followed.
struct LockClaim {
  LockSpace space;
  const void* file = nullptr;
  std::uint64_t owner = 0;
  pid_t pid = 0;  // information for lock_against
  LockMode mode{};
  LockRange range{};
};

class LockTable {
 public:
  enum class Ticket : std::uint64_t {};  // a claim that waits; never reused
  enum class Outcome : std::uint8_t {
    granted,
    conflict,  // somebody's lock stands against it
    full,      // it would be more than the table keeps
    dropped,   // of a claim that waited: its file has gone
  };
  // The end of a wait.
  struct Ended {
    Ticket ticket{};
    Outcome outcome{};

    friend constexpr bool operator==(const Ended&, const Ended&) = default;
  };
  // A lock that stands against a claim.
  struct Holding {
    LockSpan span;
    pid_t pid = 0;
  };

  static constexpr std::size_t kMostRanges = 64;
  static constexpr std::size_t kMostOwners = 256;
  static constexpr std::size_t kMostWaiting = 1024;
  // How many owners a search for a deadlock looks at; a longer chain is not found.
  static constexpr std::size_t kMostSearched = 64;

  // Takes a lock now: granted, conflict or full.
  [[nodiscard]] Outcome lock(const LockClaim& claim);
  // Takes locks away (the claim's mode means nothing): granted, or full where a range cut in two
  // would be one too many.
  [[nodiscard]] Outcome unlock(const LockClaim& claim);
  // The first lock that stands against the claim.
  [[nodiscard]] std::optional<Holding> lock_against(const LockClaim& claim) const;

  // Whether a claim that conflicts would wait for its own owner, by way of others that wait. Only
  // posix locks are looked at.
  [[nodiscard]] bool would_deadlock(const LockClaim& claim) const;
  // Lets a claim that conflicts (lock() has just said so) wait, until take_ended() names it.
  // Nothing: too many wait.
  [[nodiscard]] std::optional<Ticket> wait(const LockClaim& claim);
  void cancel(Ticket ticket);

  // Takes away every lock of an owner in a space (its claims go on waiting).
  void drop_owner(LockSpace space, std::uint64_t owner);
  // Takes away every lock and claim that came by a file.
  void drop_file(std::uint64_t node, const void* file);

  // The claims whose wait has ended since the last call, in the order in which it did.
  [[nodiscard]] std::vector<Ended> take_ended() { return std::exchange(ended_, {}); }

  [[nodiscard]] bool empty() const { return spaces_.empty(); }
  [[nodiscard]] std::size_t range_count() const;
  [[nodiscard]] std::size_t waiting_count() const { return waiting_.size(); }

 private:
  struct Owner {
    std::uint64_t id = 0;
    const void* file = nullptr;  // the one its last lock came by
    pid_t pid = 0;               // likewise
    std::vector<LockSpan> spans;
  };
  struct Waiting {
    Ticket ticket{};
    LockClaim claim;
    std::uint64_t behind = 0;  // an owner; what others change is nothing to this claim
  };
  using Line = std::list<Waiting>;  // first come, first served
  struct Space {
    std::vector<Owner> owners;  // none without a lock; who was in somebody's way stands in front
    Line line;
  };
  struct SpaceHash {
    std::size_t operator()(const LockSpace& space) const {
      return std::hash<std::uint64_t>()(space.node * 2 + static_cast<std::uint64_t>(space.kind));
    }
  };

  [[nodiscard]] static const LockSpan* span_against(const Owner& owner, const LockClaim& claim);
  [[nodiscard]] static const Owner* owner_against(Space& space, const LockClaim& claim);
  [[nodiscard]] static Outcome put(Space& space, const LockClaim& claim,
                                   std::optional<LockMode> mode);
  [[nodiscard]] std::vector<std::uint64_t> owners_against(const LockClaim& claim) const;
  void end(Ticket ticket, Outcome outcome);
  template <typename Condition>
  void drop_owners_if(LockSpace key, Condition condition);
  void serve(LockSpace key, std::vector<std::uint64_t> changed);

  std::unordered_map<LockSpace, Space, SpaceHash> spaces_;
  std::unordered_map<Ticket, Line::iterator> waiting_;
  std::unordered_multimap<std::uint64_t, Ticket> waiting_of_;  // by owner, posix only
  std::vector<Ended> ended_;
  std::uint64_t next_ticket_ = 1;
};

}  // namespace flowfs::fs
