// SPDX-License-Identifier: BSD-3-Clause
// Per-uid accounting and limits (threats.md R6).
//
// Source: the accounting of dbus-broker (src/util/user.c) for the idea that a quota is an object
// which must return to zero, and that a foreign user's share of an object shrinks. Threads: one.
// Errors: Result; giving back more than was taken is a broken invariant (CHECK).
// Invariants:
//   1. used(uid, r) is the sum of the charges not yet given back.
//   2. total(r) is the sum of used(uid, r) over all uids, and never grows past the daemon's limit
//   but by add_unchecked().
//   3. A charge that fails changes nothing.
//   4. holders(r) is how many uids but root have used(uid, r) > 0.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "registry/types.hpp"

namespace flowfs::registry {

class Users;

// A charge that gives itself back when destroyed. Move-only. Must not outlive its Users.
class [[nodiscard]] Charge {
 public:
  Charge() = default;
  Charge(Charge&& other) noexcept;
  Charge& operator=(Charge&& other) noexcept;
  ~Charge() { reset(); }
  void reset();
  [[nodiscard]] std::uint64_t amount() const { return amount_; }
  [[nodiscard]] uid_t uid() const { return uid_; }
  // Gives back part of it; `amount` <= amount().
  void give_back(std::uint64_t amount);

 private:
  friend class Users;
  Users* users_ = nullptr;
  uid_t uid_ = 0;
  Resource resource_{};
  std::uint64_t amount_ = 0;
};

class Users {
 public:
  using Limits = std::array<std::uint64_t, kResources>;

  // Per uid, and for the whole daemon. uid 0 has no per-uid limit but one that is set for it with
  // set_limit(); the total holds for it too.
  // By default a uid may use at most a tenth of a total, so that eight that collude leave a fifth.
  // Whatever the limits of a uid are, the last twentieth of a total is for those who hold little:
  // what cuts into it leaves its uid with at most max(1, (free + what it holds) / (uids that hold
  // any, itself included, + 1)), so that colluders, however many, leave something to the next; and
  // the last thousandth is root's, who must be able to act when all else is gone. Both are rounded
  // down.
  struct Config {
    Limits per_uid;
    Limits total;
    static Config defaults();
  };

  explicit Users(Config config) : config_(config) {}
  Users(const Users&) = delete;  // charges point at it
  Users& operator=(const Users&) = delete;

  // Errors: EDQUOT the uid's limit; ENFILE the daemon's, or the uid's share of the little that is
  // left of it.
  Result<Charge> charge(uid_t uid, Resource resource, std::uint64_t amount);

  // The same without the RAII object, for what is given back piecemeal (queued bytes).
  Status add(uid_t uid, Resource resource, std::uint64_t amount);
  // For what exists already and cannot be refused: may pass every limit, and then refuses what else
  // is asked for until enough was given back.
  void add_unchecked(uid_t uid, Resource resource, std::uint64_t amount);
  Charge charge_unchecked(uid_t uid, Resource resource, std::uint64_t amount);
  void subtract(uid_t uid, Resource resource, std::uint64_t amount);

  [[nodiscard]] std::uint64_t used(uid_t uid, Resource resource) const;
  [[nodiscard]] std::uint64_t total(Resource resource) const;
  [[nodiscard]] std::uint64_t limit(uid_t uid, Resource resource) const;
  // Overrides one uid's limit (users/UID/limits, written by root). A limit below the present use
  // refuses further charges and takes nothing away.
  void set_limit(uid_t uid, Resource resource, std::uint64_t limit);
  // New defaults after a reload; overrides stay.
  void reconfigure(Config config);

  // Every uid that ever had a charge or an override, ascending.
  [[nodiscard]] std::vector<uid_t> known() const;
  // The smallest of them that is `first` or greater.
  [[nodiscard]] std::optional<uid_t> known_from(std::uint64_t first) const;
  [[nodiscard]] bool is_known(uid_t uid) const;

 private:
  friend class Charge;
  struct Account {
    Limits used{};
    std::array<std::optional<std::uint64_t>, kResources> limit_override;
  };

  Charge charged(uid_t uid, Resource resource, std::uint64_t amount);
  [[nodiscard]] bool leaves_enough(uid_t uid, std::size_t index, std::uint64_t amount) const;

  Config config_;
  std::map<uid_t, Account> accounts_;
  Limits totals_{};
  std::array<std::uint64_t, kResources> holders_{};
};

// A bounded resource that belongs to one owner and is used by many (a name's backlog).
// The owner and uid 0 may use all that is free. A foreign uid may hold at most
// max(1, (free + what it holds) / (foreign uids that hold any, itself included, + 1)), so that n
// foreign uids together leave the owner about 1/(n+1) of the whole; and, however many they are,
// none may take what would leave the owner less than a tenth (rounded down) of the capacity.
class SharedAllowance {
 public:
  // Whether `uid` may take one more out of `capacity` (kUnlimited: always).
  [[nodiscard]] bool may_take(uid_t owner, uid_t uid, std::uint64_t capacity) const;
  void take(uid_t uid);
  void give_back(uid_t uid);
  [[nodiscard]] std::uint64_t taken() const { return taken_; }
  [[nodiscard]] std::uint64_t held_by(uid_t uid) const;

 private:
  std::map<uid_t, std::uint64_t> held_;  // no zeroes
  std::uint64_t taken_ = 0;
};

}  // namespace flowfs::registry
