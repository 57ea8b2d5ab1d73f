// SPDX-License-Identifier: BSD-3-Clause
// Random operations on a bus and on a model of it that has nothing but a list of messages, each
// with the set of those who have not read it.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bus/bus.hpp"

namespace flowfs::bus {
namespace {

constexpr std::uint32_t kWorth = 4;  // of what is sent in forms

struct Message {
  std::string text;
  std::uint32_t worth = 1;
  bool to_all = true;
  PortId sender{};
  std::set<PortId> unread;
};

struct Player : Member {
  void on_message() override {}
  void on_room() override {}
  void on_cut_off() override {}
  PortId id{};
  PortNumber number{};
  Rights rights;
  PortCounts counts;
  std::size_t consumed = 0;
  bool overtaken = false;
};

class Play {
 public:
  explicit Play(std::uint32_t seed) : random_(seed), bus_(limits_) {}

  void step() {
    switch (pick(12)) {
      case 0:
        join();
        break;
      case 1:
        leave();
        break;
      case 2:
        change_limits();
        break;
      case 3:
        skip();
        break;
      case 4:
        give_up();
        break;
      case 5:
      case 6:
      case 7:
        send();
        break;
      default:
        read();
        break;
    }
    compare();
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
    player->id = PortId{next_id_++};
    std::uint32_t number = 1;
    while (std::ranges::any_of(
        players_, [&](const auto& other) { return other->number == PortNumber{number}; })) {
      ++number;
    }
    player->number = PortNumber{number};
    player->rights = {.receive = pick(4) != 0, .send = true};
    if (player->rights.receive) {
      std::uint64_t wanted = limits_.history;
      for (auto message = log_.rbegin(); message != log_.rend() && wanted > 0; ++message) {
        if (message->to_all) {
          message->unread.insert(player->id);
          --wanted;
        }
      }
    }
    bus_.join(player->id, player->number, *player, player->rights);
    players_.push_back(std::move(player));
  }

  void leave() {
    Player* player = pick_player();
    if (player == nullptr) {
      return;
    }
    for (Message& message : log_) {
      dropped_ += message.unread.erase(player->id) * message.worth;
    }
    trim();
    bus_.leave(player->id, now_);
    std::erase_if(players_, [player](const auto& one) { return one.get() == player; });
  }

  void give_up() {
    Player* player = pick_player();
    if (player == nullptr || pick(3) != 0) {
      return;
    }
    for (Message& message : log_) {
      const std::uint64_t lost = message.unread.erase(player->id) * message.worth;
      dropped_ += lost;
      player->counts.dropped += lost;
    }
    player->rights.receive = false;
    player->consumed = 0;
    player->overtaken = false;
    trim();
    bus_.give_up(player->id, {.receive = false, .send = true}, now_);
  }

  void change_limits() {
    limits_.lossless = pick(2) == 0;
    limits_.depth_bytes = 100 + pick(1000);
    limits_.history = pick(3) == 0 ? pick(5) : 0;
    limits_.mtu_bytes = 20 + pick(40);
    shrink();
    trim();
    bus_.set_limits(limits_, now_);
  }

  void send() {
    const Player* from = pick_player();
    if (from == nullptr) {
      return;
    }
    const bool to_all = pick(3) != 0;
    std::vector<Message> messages;
    std::vector<std::vector<PortNumber>> to(to_all ? 1 : 1 + pick(3));
    for (std::size_t form = 0; form < to.size(); ++form) {
      messages.push_back({.text = std::string(1 + pick(50), static_cast<char>('a' + pick(26))),
                          .worth = to_all ? 1 : 1 + pick(3),
                          .to_all = to_all,
                          .sender = from->id,
                          .unread = {}});
    }
    for (const auto& player : players_) {
      const std::uint32_t form = to_all ? 0 : pick(4);  // the fourth: none
      if (player.get() != from && form < to.size()) {
        to[form].push_back(player->number);
        if (player->rights.receive) {
          messages[form].unread.insert(player->id);
        }
      }
    }
    const SendOutcome outcome = to_all ? bus_.send(from->id, bytes_of(messages[0]), now_)
                                       : send_forms(from->id, messages, to);
    ASSERT_EQ(outcome, expected_outcome(messages));
    if (outcome == SendOutcome::ok) {
      sent_ += to_all ? 1 : kWorth;
      for (Message& message : messages) {
        if (!message.unread.empty() || (to_all && limits_.history > 0)) {
          log_.push_back(std::move(message));
        }
        shrink();
        trim();
      }
    }
  }

  static std::span<const std::byte> bytes_of(const Message& message) {
    return std::as_bytes(std::span(message.text));
  }

  SendOutcome send_forms(PortId from, const std::vector<Message>& messages,
                         const std::vector<std::vector<PortNumber>>& to) {
    std::vector<Bus::Form> forms;
    for (std::size_t form = 0; form < messages.size(); ++form) {
      forms.push_back({.bytes = bytes_of(messages[form]),
                       .to = to[form],
                       .worth = {.messages = messages[form].worth}});
    }
    return bus_.send_forms({.from = from, .bytes = 20, .worth = {.messages = kWorth}}, forms, now_);
  }

  SendOutcome expected_outcome(const std::vector<Message>& messages) const {
    std::size_t cost = 0;
    for (const Message& message : messages) {
      if (message.text.size() > limits_.mtu_bytes) {
        return SendOutcome::too_long;
      }
      cost += MessageLog::cost(message.text.size());
    }
    std::size_t unread_bytes = 0;
    for (const Message& message : log_) {
      if (unread_bytes > 0 || !message.unread.empty()) {
        unread_bytes += MessageLog::cost(message.text.size());
      }
    }
    const bool fits = unread_bytes == 0 || unread_bytes + cost <= limits_.depth_bytes;
    return limits_.lossless && !fits ? SendOutcome::full : SendOutcome::ok;
  }

  void read() {
    Player* player = pick_player();
    if (player == nullptr) {
      return;
    }
    const auto first = std::ranges::find_if(
        log_, [player](const Message& message) { return message.unread.contains(player->id); });
    const Bus::Front front = bus_.front(player->id);
    if (std::exchange(player->overtaken, false)) {
      ASSERT_EQ(front.outcome, ReadOutcome::overtaken);
    } else if (first == log_.end()) {
      ASSERT_EQ(front.outcome, ReadOutcome::empty);
    } else {
      ASSERT_EQ(front.outcome, ReadOutcome::ok);
      const std::string rest = first->text.substr(player->consumed);
      ASSERT_EQ(std::string(reinterpret_cast<const char*>(front.rest.data()), front.rest.size()),
                rest);
      const std::size_t part =
          pick(3) == 0 ? 1 + pick(static_cast<std::uint32_t>(rest.size())) : rest.size();
      player->consumed += part;
      if (part == rest.size()) {
        player->consumed = 0;
        player->counts.delivered += first->worth;
        delivered_ += first->worth;
        first->unread.erase(player->id);
        trim();
      }
      bus_.consume(player->id, part, now_);
    }
  }

  void skip() {
    Player* player = pick_player();
    if (player == nullptr) {
      return;
    }
    const auto is_unread = [player](const Message& message) {
      return message.unread.contains(player->id);
    };
    std::uint64_t skipped = 0;
    for (auto left = std::ranges::count_if(log_, is_unread); left > 1; --left) {
      const auto oldest = std::ranges::find_if(log_, is_unread);
      oldest->unread.erase(player->id);
      skipped += oldest->worth;
    }
    if (skipped > 0) {
      player->consumed = 0;
      player->overtaken = false;
      trim();
    }
    player->counts.dropped += skipped;
    dropped_ += skipped;
    ASSERT_EQ(bus_.skip(player->id, now_), skipped);
  }

  std::size_t log_bytes() const {
    std::size_t bytes = 0;
    for (const Message& message : log_) {
      bytes += MessageLog::cost(message.text.size());
    }
    return bytes;
  }

  void shrink() {
    while (log_bytes() > limits_.depth_bytes && log_.size() > 1 &&
           (!limits_.lossless || log_.front().unread.empty())) {
      for (const auto& player : players_) {
        if (log_.front().unread.contains(player->id)) {
          player->counts.dropped += log_.front().worth;
          dropped_ += log_.front().worth;
          player->overtaken = player->overtaken || player->consumed > 0;
          player->consumed = 0;
        }
      }
      log_.pop_front();
    }
  }

  void trim() {
    while (log_.size() > limits_.history && log_.front().unread.empty()) {
      log_.pop_front();
    }
  }

  void compare() {
    ASSERT_EQ(bus_.check_invariants(), "");
    ASSERT_EQ(bus_.log_bytes(), log_bytes());
    ASSERT_EQ(bus_.totals().sent, sent_);
    ASSERT_EQ(bus_.totals().delivered, delivered_);
    ASSERT_EQ(bus_.totals().dropped, dropped_);
    for (const auto& player : players_) {
      std::uint64_t lag = 0;
      for (const Message& message : log_) {
        lag += message.unread.contains(player->id) ? message.worth : 0;
      }
      const PortCounts counts = bus_.counts(player->id);
      ASSERT_EQ(counts.lag, lag);
      ASSERT_EQ(counts.delivered, player->counts.delivered);
      ASSERT_EQ(counts.dropped, player->counts.dropped);
      ASSERT_EQ(bus_.readable(player->id), lag > 0 || player->overtaken);
      ASSERT_EQ(bus_.has_begun(player->id), player->consumed > 0);
    }
  }

  std::mt19937 random_;
  Limits limits_{.mtu_bytes = 60, .depth_bytes = 500};
  Instant now_{};
  Bus bus_;
  std::vector<std::unique_ptr<Player>> players_;
  std::deque<Message> log_;
  std::uint64_t next_id_ = 1;
  std::uint64_t sent_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t dropped_ = 0;
};

TEST(BusModelTest, random_operations_do_what_the_model_does) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    Play play(seed);
    for (int step = 0; step < 2000; ++step) {
      ASSERT_NO_FATAL_FAILURE(play.step()) << "seed " << seed << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace flowfs::bus
