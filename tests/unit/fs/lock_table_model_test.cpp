// SPDX-License-Identifier: BSD-3-Clause
// LockTable against a model that keeps a mode for every byte and owner, and every wait in a list.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <vector>

#include "fs/locks.hpp"

namespace flowfs::fs {
namespace {

using Outcome = LockTable::Outcome;
using Ticket = LockTable::Ticket;

constexpr std::uint64_t kNode = 5;
constexpr std::size_t kOwners = 5;
// The model's bytes; the last one stands for all up to kLastByte.
constexpr std::uint64_t kBytes = 24;

std::uint64_t table_byte(std::uint64_t byte) { return byte == kBytes - 1 ? kLastByte : byte; }

struct Wait {
  Ticket ticket{};
  std::size_t owner = 0;
  LockMode mode{};
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

class Model {
 public:
  using Bytes = std::array<std::optional<LockMode>, kBytes>;

  [[nodiscard]] bool free(std::size_t owner, LockMode mode, std::uint64_t first,
                          std::uint64_t last) const {
    for (std::size_t other = 0; other < kOwners; ++other) {
      for (std::uint64_t byte = first; byte <= last && other != owner; ++byte) {
        const auto held = held_[other][byte];
        if (held && (*held == LockMode::exclusive || mode == LockMode::exclusive)) {
          return false;
        }
      }
    }
    return true;
  }
  void put(std::size_t owner, std::optional<LockMode> mode, std::uint64_t first,
           std::uint64_t last) {
    for (std::uint64_t byte = first; byte <= last; ++byte) {
      held_[owner][byte] = mode;
    }
  }
  void wait(Wait wait) { line_.push_back(wait); }
  bool cancel(Ticket ticket) {
    return std::erase_if(line_, [&](const Wait& one) { return one.ticket == ticket; }) != 0;
  }
  std::vector<Ticket> drop_file(std::size_t owner) {
    put(owner, std::nullopt, 0, kBytes - 1);
    std::vector<Ticket> gone;
    std::erase_if(line_, [&](const Wait& one) {
      if (one.owner == owner) {
        gone.push_back(one.ticket);
      }
      return one.owner == owner;
    });
    return gone;
  }
  // Serves the line from its head, again and again.
  std::vector<Ticket> serve() {
    std::vector<Ticket> served;
    for (bool again = true; again;) {
      again = false;
      for (auto it = line_.begin(); it != line_.end();) {
        if (free(it->owner, it->mode, it->first, it->last)) {
          put(it->owner, it->mode, it->first, it->last);
          served.push_back(it->ticket);
          it = line_.erase(it);
          again = true;
        } else {
          ++it;
        }
      }
    }
    return served;
  }
  [[nodiscard]] const std::vector<Wait>& line() const { return line_; }
  [[nodiscard]] std::optional<LockMode> held(std::size_t owner, std::uint64_t byte) const {
    return held_[owner][byte];
  }
  // How many ranges the bytes make.
  [[nodiscard]] std::size_t ranges() const {
    std::size_t count = 0;
    for (const Bytes& bytes : held_) {
      for (std::uint64_t byte = 0; byte < kBytes; ++byte) {
        count += bytes[byte] && (byte == 0 || bytes[byte] != bytes[byte - 1]) ? 1 : 0;
      }
    }
    return count;
  }

 private:
  std::array<Bytes, kOwners> held_{};
  std::vector<Wait> line_;
};

class LockTableModel : public testing::TestWithParam<unsigned> {
 protected:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  LockClaim claim(std::size_t owner, LockMode mode, std::uint64_t first, std::uint64_t last) const {
    return {{kNode, LockKind::posix},  &files_[owner], owner,
            static_cast<pid_t>(owner), mode,           {first, table_byte(last)}};
  }
  std::vector<Ticket> ended() {
    std::vector<Ticket> tickets;
    for (const LockTable::Ended& one : table_.take_ended()) {
      tickets.push_back(one.ticket);
    }
    return tickets;
  }
  // Asks about every byte, in the place of one more owner that has nothing.
  void expect_same_bytes() {
    const void* nobody = nullptr;
    for (std::uint64_t byte = 0; byte < kBytes; ++byte) {
      bool any = false;
      bool alone = false;
      for (std::size_t owner = 0; owner < kOwners; ++owner) {
        any = any || model_.held(owner, byte);
        alone = alone || model_.held(owner, byte) == LockMode::exclusive;
      }
      const std::uint64_t at = byte == kBytes - 1 ? kLastByte : byte;
      LockClaim probe{{kNode, LockKind::posix}, nobody, kOwners, 0, LockMode::exclusive, {at, at}};
      ASSERT_EQ(table_.lock_against(probe).has_value(), any) << "byte " << byte;
      probe.mode = LockMode::shared;
      ASSERT_EQ(table_.lock_against(probe).has_value(), alone) << "byte " << byte;
    }
    ASSERT_EQ(table_.range_count(), model_.ranges());
    ASSERT_EQ(table_.waiting_count(), model_.line().size());
  }
  void step();

  std::mt19937 random_{GetParam()};
  char files_[kOwners]{};
  LockTable table_;
  Model model_;
};

void LockTableModel::step() {
  const std::size_t owner = below(kOwners);
  const LockMode mode = below(2) == 0 ? LockMode::shared : LockMode::exclusive;
  const std::uint64_t first = below(kBytes);
  const std::uint64_t last = first + below(kBytes - first);
  const LockClaim asked = claim(owner, mode, first, last);
  std::vector<Ticket> dropped;
  switch (below(8)) {
    default: {  // lock, and sometimes wait
      const bool free = model_.free(owner, mode, first, last);
      ASSERT_EQ(table_.lock(asked), free ? Outcome::granted : Outcome::conflict);
      if (free) {
        model_.put(owner, mode, first, last);
      } else if (below(2) == 0) {
        const auto ticket = table_.wait(asked);
        ASSERT_TRUE(ticket);
        model_.wait({*ticket, owner, mode, first, last});
      }
      break;
    }
    case 0:
    case 1:
      ASSERT_EQ(table_.unlock(asked), Outcome::granted);
      model_.put(owner, std::nullopt, first, last);
      break;
    case 2:
      if (!model_.line().empty()) {
        const Ticket ticket = model_.line()[below(model_.line().size())].ticket;
        table_.cancel(ticket);
        ASSERT_TRUE(model_.cancel(ticket));
      }
      break;
    case 3:
      if (below(4) == 0) {
        table_.drop_file(kNode, asked.file);
        dropped = model_.drop_file(owner);
      } else {
        table_.drop_owner(asked.space, owner);
        model_.put(owner, std::nullopt, 0, kBytes - 1);
      }
      break;
  }
  for (const Ticket ticket : model_.serve()) {
    dropped.push_back(ticket);
  }
  ASSERT_EQ(ended(), dropped);
}

TEST_P(LockTableModel, agrees_byte_for_byte_and_ends_empty) {
  for (int i = 0; i < 4000; ++i) {
    ASSERT_NO_FATAL_FAILURE(step()) << "step " << i;
    ASSERT_NO_FATAL_FAILURE(expect_same_bytes()) << "step " << i;
  }
  for (const char& file : files_) {
    table_.drop_file(kNode, &file);
  }
  EXPECT_TRUE(table_.empty());
  EXPECT_EQ(table_.waiting_count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LockTableModel, testing::Range(1U, 9U));

}  // namespace
}  // namespace flowfs::fs
