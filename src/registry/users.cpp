// SPDX-License-Identifier: BSD-3-Clause
#include "registry/users.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace flowfs::registry {

namespace {

constexpr std::size_t index_of(Resource resource) { return static_cast<std::size_t>(resource); }

constexpr std::uint64_t kMiB = 1U << 20;

// The parts of a total that are shared with newcomers, and that are left to root.
constexpr std::uint64_t kSharedPart = 20;
constexpr std::uint64_t kPartOfRoot = 1000;

// Whether `amount` more than `used` stays within `limit`, which may have been lowered below `used`.
constexpr bool fits(std::uint64_t used, std::uint64_t amount, std::uint64_t limit) {
  return amount == 0 || (used <= limit && amount <= limit - used);
}

}  // namespace

// --- Charge
// ----------------------------------------------------------------------------------------

Charge::Charge(Charge&& other) noexcept
    : users_(std::exchange(other.users_, nullptr)),
      uid_(other.uid_),
      resource_(other.resource_),
      amount_(std::exchange(other.amount_, 0)) {}

Charge& Charge::operator=(Charge&& other) noexcept {
  if (this != &other) {
    reset();
    users_ = std::exchange(other.users_, nullptr);
    uid_ = other.uid_;
    resource_ = other.resource_;
    amount_ = std::exchange(other.amount_, 0);
  }
  return *this;
}

void Charge::reset() {
  give_back(amount_);
  users_ = nullptr;
}

void Charge::give_back(std::uint64_t amount) {
  FLOWFS_CHECK(amount <= amount_);
  if (amount > 0) {
    amount_ -= amount;
    users_->subtract(uid_, resource_, amount);
  }
}

// --- Users
// -----------------------------------------------------------------------------------------

Users::Config Users::Config::defaults() {
  Config config{};
  const auto set = [&config](Resource resource, std::uint64_t total) {
    config.total[index_of(resource)] = total;
    config.per_uid[index_of(resource)] = total / 10;
  };
  set(Resource::names, 20'480);
  set(Resource::flows, 409'600);  // ends: one uid may be both ends of 20,480 flows
  set(Resource::bytes, 4'000 * kMiB);
  set(Resource::descriptors, 409'600);
  set(Resource::held, 40'960);
  set(Resource::buses, 20'480);
  set(Resource::ports, 81'920);
  return config;
}

Result<Charge> Users::charge(uid_t uid, Resource resource, std::uint64_t amount) {
  if (const Status added = add(uid, resource, amount); !added) {
    return std::unexpected(added.error());
  }
  return charged(uid, resource, amount);
}

Charge Users::charge_unchecked(uid_t uid, Resource resource, std::uint64_t amount) {
  add_unchecked(uid, resource, amount);
  return charged(uid, resource, amount);
}

// The object for what has been added.
Charge Users::charged(uid_t uid, Resource resource, std::uint64_t amount) {
  Charge charge;
  charge.users_ = this;
  charge.uid_ = uid;
  charge.resource_ = resource;
  charge.amount_ = amount;
  return charge;
}

Status Users::add(uid_t uid, Resource resource, std::uint64_t amount) {
  const std::size_t index = index_of(resource);
  if (!fits(used(uid, resource), amount, limit(uid, resource))) {
    return fail(EDQUOT, "quota of the user");
  }
  if (!fits(totals_[index], amount, config_.total[index]) || !leaves_enough(uid, index, amount)) {
    return fail(ENFILE, "limit of the daemon");
  }
  add_unchecked(uid, resource, amount);
  return {};
}

// Precondition: `amount` fits in the total, or is 0.
bool Users::leaves_enough(uid_t uid, std::size_t index, std::uint64_t amount) const {
  if (uid == 0 || amount == 0) {
    return true;
  }
  const std::uint64_t total = config_.total[index];
  const std::uint64_t free = total - totals_[index];
  if (free - amount >= total / kSharedPart) {
    return true;
  }
  if (free - amount < total / kPartOfRoot) {
    return false;
  }
  const std::uint64_t held = used(uid, static_cast<Resource>(index));
  const std::uint64_t holders = holders_[index] + (held == 0 ? 1 : 0);
  return held + amount <= std::max<std::uint64_t>(1, (free + held) / (holders + 1));
}

void Users::add_unchecked(uid_t uid, Resource resource, std::uint64_t amount) {
  if (amount > 0) {
    const std::size_t index = index_of(resource);
    std::uint64_t& used = accounts_[uid].used[index];
    holders_[index] += uid != 0 && used == 0 ? 1 : 0;
    used += amount;
    totals_[index] += amount;
  }
}

void Users::subtract(uid_t uid, Resource resource, std::uint64_t amount) {
  if (amount == 0) {
    return;
  }
  const std::size_t index = index_of(resource);
  const auto account = accounts_.find(uid);
  FLOWFS_CHECK(account != accounts_.end() && account->second.used[index] >= amount);
  std::uint64_t& used = account->second.used[index];
  used -= amount;
  holders_[index] -= uid != 0 && used == 0 ? 1 : 0;
  totals_[index] -= amount;
}

std::uint64_t Users::used(uid_t uid, Resource resource) const {
  const auto account = accounts_.find(uid);
  return account == accounts_.end() ? 0 : account->second.used[index_of(resource)];
}

std::uint64_t Users::total(Resource resource) const { return totals_[index_of(resource)]; }

std::uint64_t Users::limit(uid_t uid, Resource resource) const {
  const std::size_t index = index_of(resource);
  const std::uint64_t standard = uid == 0 ? kUnlimited : config_.per_uid[index];
  const auto account = accounts_.find(uid);
  return account == accounts_.end() ? standard
                                    : account->second.limit_override[index].value_or(standard);
}

void Users::set_limit(uid_t uid, Resource resource, std::uint64_t limit) {
  accounts_[uid].limit_override[index_of(resource)] = limit;
}

void Users::reconfigure(Config config) { config_ = config; }

std::vector<uid_t> Users::known() const {
  std::vector<uid_t> uids;
  uids.reserve(accounts_.size());
  for (const auto& [uid, account] : accounts_) {
    uids.push_back(uid);
  }
  return uids;
}

std::optional<uid_t> Users::known_from(std::uint64_t first) const {
  const auto account = first > std::numeric_limits<uid_t>::max()
                           ? accounts_.end()
                           : accounts_.lower_bound(static_cast<uid_t>(first));
  return account == accounts_.end() ? std::nullopt : std::optional(account->first);
}

bool Users::is_known(uid_t uid) const { return accounts_.contains(uid); }

// --- SharedAllowance
// -------------------------------------------------------------------------------

bool SharedAllowance::may_take(uid_t owner, uid_t uid, std::uint64_t capacity) const {
  if (capacity == kUnlimited) {
    return true;
  }
  if (taken_ >= capacity) {
    return false;
  }
  if (uid == owner || uid == 0) {
    return true;
  }
  const std::uint64_t free = capacity - taken_;
  if (free + held_by(owner) <= capacity / 10) {
    return false;
  }
  const std::uint64_t held = held_by(uid);
  std::uint64_t foreign = held_.size() + (held == 0 ? 1 : 0);
  foreign -= held_.contains(owner) ? 1 : 0;
  foreign -= owner != 0 && held_.contains(0) ? 1 : 0;
  return held < std::max<std::uint64_t>(1, (free + held) / (foreign + 1));
}

void SharedAllowance::take(uid_t uid) {
  ++held_[uid];
  ++taken_;
}

void SharedAllowance::give_back(uid_t uid) {
  const auto entry = held_.find(uid);
  FLOWFS_CHECK(entry != held_.end());
  if (--entry->second == 0) {
    held_.erase(entry);
  }
  --taken_;
}

std::uint64_t SharedAllowance::held_by(uid_t uid) const {
  const auto entry = held_.find(uid);
  return entry == held_.end() ? 0 : entry->second;
}

}  // namespace flowfs::registry
