// SPDX-License-Identifier: BSD-3-Clause
#include "auth/record.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "auth_fixture.hpp"

namespace flowfs::auth {
namespace {

using Opened = RecordOpener::Outcome;
using std::chrono::seconds;

constexpr Choice kChoice{.key_exchange = KeyExchange::x25519,
                         .cipher = Cipher::aes_256_gcm,
                         .kdf = Kdf::hkdf,
                         .digest = Digest::sha256};
constexpr Instant kStart = Instant{} + seconds(1'000);

Secret secret_of(unsigned first) {
  Secret secret(32);
  std::ranges::copy(counting(first, 32), secret.writable().begin());
  return secret;
}

// One direction of a flow.
class Direction {
 public:
  explicit Direction(const RekeyLimits& limits = {}, const Choice& choice = kChoice)
      : sealer_(std::move(*RecordSealer::create(choice, secret_of(1), kStart, limits))),
        opener_(std::move(*RecordOpener::create(choice, secret_of(1), limits))) {}

  Bytes seal(std::string_view text, Instant now = kStart) {
    Bytes record(text.size() + kRecordOverhead);
    EXPECT_EQ(sealer_.seal(from_text(text), record, now), RecordSealer::Outcome::ok);
    return record;
  }
  Opened open(const Bytes& record, Instant now = kStart) {
    text_.assign(record.size() - std::min(record.size(), kRecordOverhead), '?');
    return opener_.open(record, std::as_writable_bytes(std::span(text_)), now);
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  RecordSealer& sealer() { return sealer_; }
  RecordOpener& opener() { return opener_; }

 private:
  RecordSealer sealer_;
  RecordOpener opener_;
  std::string text_;
};

TEST(Record, carries_a_message_with_every_cipher) {
  for (const CipherInfo& info : all(Cipher{})) {
    Choice choice = kChoice;
    choice.cipher = info.code;
    Direction direction({}, choice);
    for (const char* text : {"hello", "", "again"}) {
      const Bytes record = direction.seal(text);
      EXPECT_EQ(record.size(), std::string(text).size() + kRecordOverhead);
      ASSERT_EQ(direction.open(record), Opened::ok) << info.name;
      EXPECT_EQ(direction.text(), text);
    }
    EXPECT_EQ(direction.opener().counters().opened, 3U);
  }
}

TEST(Record, is_sealed_and_opened_in_place) {
  Direction direction;
  Bytes record(kRecordOverhead + 5);
  const auto place = std::span(record).subspan(kRecordHeader, 5);
  std::ranges::copy(from_text("hello"), place.begin());
  ASSERT_EQ(direction.sealer().seal(place, record, kStart), RecordSealer::Outcome::ok);
  EXPECT_NE(copy(place), from_text("hello"));
  ASSERT_EQ(direction.opener().open(record, place, kStart), Opened::ok);
  EXPECT_EQ(copy(place), from_text("hello"));
}

TEST(Record, looks_different_each_time) {
  Direction direction;
  EXPECT_NE(copy(View(direction.seal("hello")).subspan(kRecordHeader)),
            copy(View(direction.seal("hello")).subspan(kRecordHeader)));
}

TEST(Record, is_not_believed_where_it_comes_back) {
  Direction there;
  auto back = RecordOpener::create(kChoice, secret_of(2), {});  // as the sender's own opener
  ASSERT_TRUE(back.has_value());
  const Bytes record = there.seal("hello");
  Bytes out(5);
  EXPECT_EQ(back->open(record, out, kStart), Opened::forged);
  EXPECT_EQ(back->counters().forged, 1U);
}

TEST(Record, is_dropped_and_counted_where_any_bit_has_changed_and_nothing_else_happens) {
  Direction direction;
  const Bytes record = direction.seal("hello");
  for (std::size_t bit = 0; bit < record.size() * 8; ++bit) {
    Bytes changed = record;
    changed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_NE(direction.open(changed), Opened::ok) << "bit " << bit;
    EXPECT_EQ(direction.text().find_first_not_of(direction.text().front()), std::string::npos);
    EXPECT_EQ(direction.opener().epoch(), 0U);
  }
  const RecordOpener::Counters& counters = direction.opener().counters();
  EXPECT_EQ(counters.forged + counters.malformed, record.size() * 8);
  EXPECT_EQ(direction.open(record), Opened::ok);
  EXPECT_EQ(direction.text(), "hello");
}

TEST(Record, is_opened_once) {
  Direction direction;
  const Bytes record = direction.seal("hello");
  EXPECT_EQ(direction.open(record), Opened::ok);
  EXPECT_EQ(direction.open(record), Opened::replayed);
  EXPECT_EQ(direction.opener().counters().replayed, 1U);
}

TEST(Record, is_over_for_an_opener_that_begins_behind_it) {
  Direction direction;
  std::vector<Bytes> records;
  for (int i = 0; i < 5; ++i) {
    records.push_back(direction.seal(std::to_string(i)));
  }
  EXPECT_EQ(mark_behind(records.at(2)), (RecordMark{.epoch = 0, .next = 3}));
  auto late = RecordOpener::create(kChoice, secret_of(1), {}, mark_behind(records.at(2)));
  ASSERT_TRUE(late.has_value());
  Bytes out(1);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(late->open(records.at(i), out, kStart), Opened::replayed);
  }
  EXPECT_EQ(late->open(records.at(4), out, kStart), Opened::ok);
  EXPECT_EQ(late->open(records.at(3), out, kStart), Opened::ok);
  EXPECT_EQ(late->open(records.at(3), out, kStart), Opened::replayed);
}

TEST(Record, is_of_the_epochs_that_its_sealer_was_given) {
  RekeyLimits limits;
  limits.records = 1;
  limits.last_epoch = 8;
  auto sealer = RecordSealer::create(kChoice, secret_of(1), kStart, limits, 7);
  ASSERT_TRUE(sealer.has_value());
  auto opener = RecordOpener::create(kChoice, secret_of(1), {});
  Bytes record(kRecordOverhead + 1);
  Bytes out(1);
  for (const std::uint32_t epoch : {7U, 8U}) {
    ASSERT_EQ(sealer->seal(Bytes(1), record, kStart), RecordSealer::Outcome::ok);
    EXPECT_EQ(opener->open(record, out, kStart), Opened::ok);
    EXPECT_EQ(opener->epoch(), epoch);
  }
  EXPECT_EQ(sealer->seal(Bytes(1), record, kStart), RecordSealer::Outcome::exhausted);
}

TEST(Record, may_be_overtaken_by_as_many_as_the_window_holds) {
  Direction direction;
  std::vector<Bytes> records;
  for (std::uint64_t i = 0; i <= ReplayWindow::kSize; ++i) {
    records.push_back(direction.seal(std::to_string(i)));
  }
  EXPECT_EQ(direction.open(records.back()), Opened::ok);
  EXPECT_EQ(direction.open(records.at(1)), Opened::ok);
  EXPECT_EQ(direction.text(), "1");
  EXPECT_EQ(direction.open(records.at(0)), Opened::replayed);
}

TEST(Record, that_is_none_is_dropped) {
  Direction direction;
  Bytes record = direction.seal("");
  for (; !record.empty(); record.pop_back()) {
    if (record.size() < kRecordOverhead) {
      EXPECT_EQ(direction.open(record), Opened::malformed);
    }
  }
  Bytes room(4);
  EXPECT_EQ(direction.opener().open(direction.seal("hello"), room, kStart), Opened::malformed);
  EXPECT_EQ(direction.opener().counters().malformed, kRecordOverhead);
}

// ---- new keys
// ------------------------------------------------------------------------------------

constexpr RekeyLimits kOften{.records = 64};

// A network that loses 30 %, doubles some, and keeps each packet for as long as up to kReach others
// take to be sent: so they overtake each other, over a change of keys as well.
class Network {
 public:
  static constexpr std::size_t kReach = 50;

  Network(const RekeyLimits& limits, seconds between) : direction_(limits), between_(between) {}

  void carry(std::size_t messages) {
    for (; sent_ < messages; ++sent_) {
      now_ += between_;
      const std::string text = "m" + std::to_string(sent_);
      const Bytes record = direction_.seal(text, now_);
      for (std::size_t copies = random_() % 10 == 0 ? 2 : 1; copies > 0; --copies) {
        if (random_() % 10 >= 3) {
          under_way_.emplace(sent_ + random_() % kReach, Packet{text, record});
        }
      }
      deliver_until(sent_);
    }
    deliver_until(sent_ + kReach);
  }
  Direction& direction() { return direction_; }
  // Messages that were opened, and of those the ones whose key had been followed by another.
  [[nodiscard]] std::size_t opened() const { return seen_.size(); }
  [[nodiscard]] std::size_t late() const { return late_; }

 private:
  struct Packet {
    std::string text;
    Bytes record;
  };
  void deliver_until(std::size_t due) {
    for (; !under_way_.empty() && under_way_.begin()->first <= due;
         under_way_.erase(under_way_.begin())) {
      const auto& [text, record] = under_way_.begin()->second;
      const bool first = seen_.insert(text).second;
      ASSERT_EQ(direction_.open(record, now_), first ? Opened::ok : Opened::replayed) << text;
      ASSERT_EQ(direction_.text() == text, first);
      const bool is_late = mark_behind(record).epoch < direction_.opener().epoch();
      late_ += first && is_late ? 1 : 0;
    }
  }

  Direction direction_;
  seconds between_;
  Instant now_ = kStart;
  std::mt19937 random_{3};
  std::multimap<std::size_t, Packet> under_way_;  // by when it arrives
  std::set<std::string> seen_;
  std::size_t sent_ = 0;
  std::size_t late_ = 0;
};

void expect_nothing_dropped(Network& network, std::size_t messages) {
  EXPECT_GT(network.opened(), messages * 6 / 10);  // and less than all: the rest never arrived
  EXPECT_LT(network.opened(), messages * 8 / 10);
  EXPECT_GT(network.late(), messages / 10);
  EXPECT_EQ(network.direction().opener().epoch(), network.direction().sealer().epoch());
  EXPECT_EQ(network.direction().opener().counters().stale, 0U);
  EXPECT_EQ(network.direction().opener().counters().forged, 0U);
}

TEST(Rekey, by_count_loses_nothing_that_arrives_whatever_the_order) {
  constexpr std::size_t kMessages = 5'000;
  Network network(kOften, seconds(0));
  network.carry(kMessages);
  EXPECT_EQ(network.direction().sealer().epoch(), (kMessages - 1) / kOften.records);
  expect_nothing_dropped(network, kMessages);
}

// A message every two seconds, and a key kept for as long as any of them is under way.
TEST(Rekey, by_time_loses_nothing_that_arrives_before_its_key_is_forgotten) {
  constexpr std::size_t kMessages = 5'000;
  RekeyLimits limits;
  limits.keep_old = seconds(2 * Network::kReach);
  Network network(limits, seconds(2));
  network.carry(kMessages);
  EXPECT_EQ(network.direction().sealer().epoch(), kMessages / 60);
  expect_nothing_dropped(network, kMessages);
}

TEST(Rekey, by_count_comes_after_so_many_packets_as_it_is_meant_to) {
  Direction direction;
  Bytes record(kRecordOverhead + 1);
  const auto body = std::span(record).subspan(kRecordHeader, 1);
  for (std::size_t i = 0; i <= std::size_t{1} << 20; ++i) {
    ASSERT_EQ(direction.sealer().epoch(), 0U) << i;
    ASSERT_EQ(direction.sealer().seal(body, record, kStart), RecordSealer::Outcome::ok);
    ASSERT_EQ(direction.opener().open(record, body, kStart), Opened::ok) << i;
  }
  EXPECT_EQ(direction.sealer().epoch(), 1U);
  EXPECT_EQ(direction.opener().epoch(), 1U);
  EXPECT_EQ(direction.opener().counters().opened, (1U << 20) + 1);
}

TEST(Rekey, by_time_goes_on_where_whole_epochs_were_lost) {
  Direction direction;
  Instant now = kStart;
  for (int i = 0; i < 1'000; ++i) {
    now += seconds(120);
    const Bytes record = direction.seal("m", now);
    if (i % 100 == 99) {
      ASSERT_EQ(direction.open(record, now), Opened::ok) << i;
      EXPECT_EQ(direction.opener().epoch(), direction.sealer().epoch());
    }
  }
  EXPECT_EQ(direction.sealer().epoch(), 1'000U);
}

TEST(Rekey, keeps_the_old_key_for_what_was_overtaken_and_then_no_longer) {
  Direction direction(kOften);
  const Bytes early = direction.seal("early");
  const Bytes late = direction.seal("late");
  for (std::uint64_t i = 2; i < kOften.records; ++i) {
    (void)direction.seal("m");
  }
  ASSERT_EQ(direction.open(direction.seal("next")), Opened::ok);
  EXPECT_EQ(direction.opener().epoch(), 1U);
  EXPECT_EQ(direction.open(early, kStart + kOften.keep_old - seconds(1)), Opened::ok);
  EXPECT_EQ(direction.text(), "early");
  EXPECT_EQ(direction.open(late, kStart + kOften.keep_old), Opened::stale);
  EXPECT_EQ(direction.opener().counters().stale, 1U);
}

TEST(Rekey, does_not_happen_because_somebody_else_says_so) {
  Direction direction;
  Bytes record = direction.seal("hello");
  record.at(0) = std::byte{1};  // an epoch far ahead
  EXPECT_EQ(direction.open(record), Opened::forged);
  EXPECT_EQ(direction.opener().epoch(), 0U);
  record.at(0) = std::byte{0};
  EXPECT_EQ(direction.open(record), Opened::ok);
}

TEST(Rekey, comes_to_an_end_rather_than_to_a_key_twice) {
  Direction direction({.records = 2, .last_epoch = 1});
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(direction.open(direction.seal("m")), Opened::ok);
  }
  Bytes record(kRecordOverhead);
  EXPECT_EQ(direction.sealer().seal({}, record, kStart), RecordSealer::Outcome::exhausted);
  EXPECT_EQ(direction.sealer().seal({}, record, kStart), RecordSealer::Outcome::exhausted);
}

TEST(Rekey, needs_a_choice_that_encrypts) {
  EXPECT_FALSE(RecordSealer::create({}, secret_of(1), kStart).has_value());
  EXPECT_FALSE(RecordOpener::create({}, secret_of(1)).has_value());
}

}  // namespace
}  // namespace flowfs::auth
