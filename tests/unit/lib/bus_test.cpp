// SPDX-License-Identifier: BSD-3-Clause
// The two directions of a mapped member of a bus, with the part of the daemon played by the test.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

#include "lib/bus_receiver.hpp"
#include "lib/bus_sender.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {
namespace {

constexpr std::uint64_t kMember = 7;
constexpr std::uint32_t kOrigin = 3;
constexpr std::uint32_t kOther = 4;
constexpr std::size_t kRing = 8192;
constexpr std::size_t kMtu = 2000;
constexpr Wait kNow{};
const Wait kAlways = Wait::for_ever();

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class MappedMember : public ::testing::Test {
 protected:
  MappedMember() : geometry_(pool::Geometry::plan(kMtu, 0, 4096).value()) {
    char name[] = "/tmp/flowfs-bus-XXXXXX";
    folder_ = ::mkdtemp(name);
    folder_fd_ = Fd(::open(folder_.c_str(), O_PATH | O_CLOEXEC));
    attachment_.folder = &folder_fd_;
    attachment_.geometry = geometry_;
    attachment_.tx = map(segment_.fd(), geometry_.segment_bytes());
    attachment_.slot = {std::shared_ptr<void>(), &slot()};
    flowfs_bus_attach& answer = attachment_.answer;
    answer.member = kMember;
    answer.generation = 1;
    answer.log_generation = 1;
    answer.mtu_bytes = kMtu;
    answer.origin = kOrigin;
    answer.flags = FLOWFS_BUS_RECEIVES | FLOWFS_BUS_SENDS;
    slot().flow = kMember | FLOWFS_STATUS_MEMBER;
    slot().taken.generation = 1;
    slot().closed_at = FLOWFS_LANE_OPEN;
    new_log();
    attachment_.first_log = attachment_.map_log().value();
    receiver_.emplace(attachment_, SpinBudget(SpinPolicy::never, false));
    sender_.emplace(attachment_, SpinBudget(SpinPolicy::never, false));
  }
  void TearDown() override {
    slot().flow = 0;  // nothing is waited for
    sender_.reset();
    std::filesystem::remove_all(folder_);
  }

  static Mapping map(const Fd& fd, std::size_t bytes) {
    return Mapping::map(fd, bytes, Mapping::Access::read_write).value();
  }
  flowfs_status& slot() { return status_; }

  // --- the bus ---

  void new_log() {
    const std::uint64_t generation = log_ ? log_->generation() + 1 : 1;
    if (log_) {
      pool::shared(slot().retired_at).store(writer_->position(), std::memory_order_release);
    }
    former_ = std::move(log_);
    log_.emplace(pool::Log::create(kRing, generation).value());
    writer_.emplace(log_->bytes());
    const std::string path = folder_ + "/log";
    std::filesystem::remove(path);
    std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(log_->fd().get()), path);
    pool::shared(slot().peer_generation).store(generation, std::memory_order_release);
    if (former_) {
      pool::LogWriter::ring(former_->header());
    }
  }
  void lay_down(std::string_view text, std::uint32_t origin = kOther) {
    writer_->make_room(text.size());
    writer_->append(bytes_of(text), origin);
    writer_->publish();
    writer_->ring();
  }
  // What the member has sent; room for it is given back.
  std::string take() {
    pool::LaneReader::Record record;
    if (lane_.peek(record) != pool::LaneReader::Outcome::record) {
      return {};
    }
    std::string text = text_of(record.payload);
    lane_.pop();
    pool::shared(slot().taken.hot).store(lane_.position().hot, std::memory_order_seq_cst);
    pool::shared(slot().taken.bulk).store(lane_.position().bulk, std::memory_order_seq_cst);
    pool::Bell::ring(slot().bell);
    return text;
  }

  // --- the member ---

  Result<std::string> receive(const Wait& wait = kNow) {
    std::string buffer(kMtu, ' ');
    const iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
    const auto got = receiver_->receive(Pieces(&piece, 1), wait);
    return got ? Result<std::string>(buffer.substr(0, *got)) : std::unexpected(got.error());
  }
  int error_of_receive() {
    const auto got = receive();
    return got ? 0 : got.error().error;
  }
  Status send(std::string_view text, const Wait& wait = kNow) {
    return sender_->send(bytes_of(text), wait);
  }
  flowfs_cursors& cursors() { return attachment_.own().cursors; }

  std::string folder_;
  Fd folder_fd_;
  pool::Geometry geometry_;
  pool::Segment segment_ = pool::Segment::create(geometry_, kMember, pool::Generation{1}).value();
  flowfs_status status_{};
  pool::LaneReader lane_{geometry_, segment_.bytes(), {.hot = 0, .bulk = 0, .sequence = 0}};
  std::optional<pool::Log> log_;
  std::optional<pool::Log> former_;
  std::optional<pool::LogWriter> writer_;
  BusAttachment attachment_;
  std::optional<BusReceiver> receiver_;
  std::optional<BusSender> sender_;
};

TEST_F(MappedMember, receives_what_others_send_and_says_how_far_it_is) {
  EXPECT_EQ(error_of_receive(), EAGAIN);
  lay_down("one");
  lay_down("mine", kOrigin);
  lay_down("two");
  EXPECT_EQ(receive().value(), "one");
  EXPECT_EQ(receive().value(), "two");
  EXPECT_EQ(error_of_receive(), EAGAIN);
  EXPECT_EQ(cursors().generation, 1U);
  EXPECT_EQ(cursors().hot, writer_->position());
  EXPECT_EQ(cursors().bulk, 3U);
}

TEST_F(MappedMember, keeps_a_message_that_is_longer_than_the_buffer) {
  lay_down("0123456789");
  std::string buffer(9, ' ');
  iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
  EXPECT_EQ(receiver_->receive(Pieces(&piece, 1), kNow).error().error, EMSGSIZE);
  std::string rest(9, ' ');
  const iovec pieces[] = {piece, {.iov_base = rest.data(), .iov_len = rest.size()}};
  EXPECT_EQ(receiver_->receive(pieces, kNow).value(), 10U);
  EXPECT_EQ(buffer + rest.substr(0, 1), "0123456789");
}

TEST_F(MappedMember, that_was_overtaken_goes_on_with_the_oldest_and_says_what_it_lost) {
  for (int number = 0; number < 100; ++number) {
    lay_down(std::to_string(number) + std::string(200, ' '));
  }
  const int first = std::stoi(receive().value());
  EXPECT_GT(first, 10);
  EXPECT_EQ(attachment_.own().receiving.drops, static_cast<std::uint64_t>(first));
  for (int number = first + 1; number < 100; ++number) {
    EXPECT_EQ(std::stoi(receive().value()), number);
  }
  EXPECT_EQ(error_of_receive(), EAGAIN);
}

TEST_F(MappedMember, borrows_where_the_message_lies_and_holds_its_cursors) {
  lay_down("one");
  lay_down("two");
  const View one = receiver_->borrow(kNow).value();
  const View two = receiver_->borrow(kNow).value();
  EXPECT_GE(one.bytes.data(), attachment_.first_log->bytes().data());
  EXPECT_EQ(text_of(one.bytes) + text_of(two.bytes), "onetwo");
  EXPECT_EQ(cursors().hot, 0U);
  EXPECT_TRUE(receiver_->release(two.id));
  EXPECT_EQ(cursors().hot, 0U);
  EXPECT_TRUE(receiver_->release(one.id));
  EXPECT_EQ(cursors().hot, writer_->position());
  EXPECT_EQ(receiver_->release(one.id).error().error, EINVAL);
}

TEST_F(MappedMember, is_told_when_what_it_borrowed_was_overtaken) {
  lay_down("short");
  lay_down("settled");
  const View lost = receiver_->borrow(kNow).value();
  const View kept = receiver_->borrow(kNow).value();
  ASSERT_TRUE(receiver_->settle(kept.id));
  for (int number = 0; number < 20; ++number) {
    lay_down(std::string(1000, 'x'));
  }
  EXPECT_EQ(receiver_->settle(lost.id).error().error, ESTALE);
  EXPECT_EQ(receiver_->release(lost.id).error().error, ESTALE);
  EXPECT_EQ(text_of(receiver_->find_view(kept.id)->bytes), "settled");
  EXPECT_TRUE(receiver_->release(kept.id));
}

TEST_F(MappedMember, skips_to_the_newest_of_others) {
  EXPECT_EQ(receiver_->skip().value(), 0U);
  for (const std::string_view text : {"one", "two", "three"}) {
    lay_down(text);
  }
  lay_down("mine", kOrigin);
  EXPECT_EQ(receiver_->skip().value(), 2U);
  EXPECT_EQ(receiver_->skip().value(), 0U);
  EXPECT_EQ(attachment_.own().receiving.drops, 2U);
  EXPECT_EQ(receive().value(), "three");
  EXPECT_EQ(error_of_receive(), EAGAIN);
}

TEST_F(MappedMember, goes_on_in_the_next_log) {
  lay_down("last of the first");
  new_log();
  lay_down("first of the next");
  const View held = receiver_->borrow(kNow).value();
  EXPECT_EQ(error_of_receive(), EBUSY);
  EXPECT_TRUE(receiver_->release(held.id));
  EXPECT_EQ(receive().value(), "first of the next");
  EXPECT_EQ(cursors().generation, 2U);
  EXPECT_EQ(cursors().hot, writer_->position());
}

TEST_F(MappedMember, that_missed_a_whole_log_begins_with_what_there_is) {
  lay_down("of the first");
  const View held = receiver_->borrow(kNow).value();
  new_log();
  new_log();
  lay_down("of the third");
  EXPECT_EQ(receiver_->release(held.id).error().error, ESTALE);
  EXPECT_EQ(receive().value(), "of the third");
}

TEST_F(MappedMember, waits_for_a_message_and_for_the_next_log) {
  for (const bool change : {false, true}) {
    std::thread bus([&] {
      if (change) {
        new_log();
      }
      lay_down("awaited");
    });
    EXPECT_EQ(receive(kAlways).value(), "awaited");
    bus.join();
  }
}

TEST_F(MappedMember, that_was_cut_off_is_told_in_both_directions) {
  lay_down("never read");
  std::thread bus([&] {
    pool::shared(slot().flow).store(0, std::memory_order_release);
    pool::Bell::ring(slot().bell);
    writer_->ring();
  });
  bus.join();
  EXPECT_EQ(error_of_receive(), ECONNABORTED);
  EXPECT_EQ(send("x").error().error, ECONNABORTED);
  EXPECT_TRUE(receiver_->is_ready());
  EXPECT_TRUE(sender_->is_ready());
}

TEST_F(MappedMember, that_is_shut_down_for_receiving_has_come_to_the_end) {
  lay_down("borrowed");
  lay_down("never read");
  const View held = receiver_->borrow(kNow).value();
  std::string buffer(3, ' ');
  iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
  EXPECT_EQ(receiver_->receive(Pieces(&piece, 1), kNow).error().error, EMSGSIZE);
  pool::shared(slot().closed_at).store(0, std::memory_order_release);
  EXPECT_EQ(receive().value(), "");
  EXPECT_EQ(receiver_->receive_many(std::span(&piece, 1), kNow).value(), 0U);
  EXPECT_TRUE(receiver_->borrow(kNow).value().bytes.empty());
  EXPECT_EQ(receiver_->skip().value(), 0U);
  EXPECT_TRUE(receiver_->is_ready());
  EXPECT_FALSE(receiver_->arm());
  EXPECT_EQ(receiver_->settle(held.id).error().error, ESTALE);
  EXPECT_EQ(receiver_->release(held.id).error().error, ESTALE);
  EXPECT_TRUE(send("still"));
  EXPECT_EQ(take(), "still");
}

TEST_F(MappedMember, that_is_shut_down_looks_for_no_log_that_follows) {
  lay_down("of the first");
  new_log();
  std::filesystem::remove(folder_ + "/log");
  EXPECT_EQ(receive().value(), "of the first");
  EXPECT_EQ(error_of_receive(), ENOENT);
  pool::shared(slot().closed_at).store(0, std::memory_order_release);
  EXPECT_EQ(receive().value(), "");
}

TEST_F(MappedMember, that_is_shut_down_for_sending_breaks_its_pipe) {
  ASSERT_TRUE(send("before"));
  const Space space = sender_->loan(100, 0, kNow).value();
  pool::shared(slot().flags).fetch_or(FLOWFS_STATUS_MUTE, std::memory_order_release);
  EXPECT_EQ(sender_->commit(space.id, 1, kNow).error().error, EPIPE);
  EXPECT_EQ(send("after").error().error, EPIPE);
  EXPECT_EQ(sender_->loan(100, 0, kNow).error().error, EPIPE);
  EXPECT_TRUE(sender_->is_ready());
  EXPECT_FALSE(sender_->arm());
  EXPECT_EQ(take() + take(), "before");
  lay_down("still");
  EXPECT_EQ(receive().value(), "still");
}

TEST_F(MappedMember, that_is_shut_down_waits_for_nothing) {
  const std::string message(kMtu, 'x');
  while (send(message)) {
  }
  std::thread waiting([&] { EXPECT_EQ(send(message, kAlways).error().error, EPIPE); });
  EXPECT_TRUE(receive(kNow).error().error == EAGAIN);
  std::thread listening([&] { EXPECT_EQ(receive(kAlways).value(), ""); });
  pool::shared(slot().flags).fetch_or(FLOWFS_STATUS_MUTE, std::memory_order_seq_cst);
  pool::Bell::ring(slot().bell);
  pool::shared(slot().closed_at).store(0, std::memory_order_seq_cst);
  writer_->ring();
  waiting.join();
  listening.join();
}

TEST_F(MappedMember, believes_no_log_that_lies) {
  lay_down("honest");
  auto* const record = reinterpret_cast<flowfs_log_record*>(log_->bytes().data() + 4096);
  record->length = 100'000;
  EXPECT_EQ(error_of_receive(), EPROTO);
}

TEST_F(MappedMember, leaves_a_log_that_lies_when_there_is_another) {
  lay_down("honest");
  reinterpret_cast<flowfs_log_record*>(log_->bytes().data() + 4096)->length = 100'000;
  EXPECT_EQ(error_of_receive(), EPROTO);
  new_log();
  lay_down("of another");
  EXPECT_EQ(receive().value(), "of another");
}

TEST_F(MappedMember, believes_the_slot_and_not_the_log_which_one_it_is) {
  new_log();
  log_->header().generation = 77;
  lay_down("of the next");
  EXPECT_EQ(receive().value(), "of the next");
  EXPECT_EQ(cursors().generation, 2U);
}

TEST_F(MappedMember, begins_where_the_next_log_says) {
  new_log();
  lay_down("history");
  log_->header().first = writer_->position();
  lay_down("new");
  EXPECT_EQ(receive().value(), "new");
}

TEST_F(MappedMember, tells_what_it_got_of_each_log) {
  lay_down("one");
  lay_down("three");
  lay_down("four");
  EXPECT_EQ(receiver_->skip().value(), 2U);
  EXPECT_EQ(receive().value(), "four");
  const flowfs_segment& own = attachment_.own();
  EXPECT_EQ(own.present_log.lost, 2U);
  EXPECT_EQ(own.present_log.bytes, 4U);
  new_log();
  lay_down("eleven");
  EXPECT_EQ(receive().value(), "eleven");
  EXPECT_EQ(own.former_log.lost, 2U);
  EXPECT_EQ(own.former_log.bytes, 4U);
  EXPECT_EQ(own.present_log.lost, 0U);
  EXPECT_EQ(own.present_log.bytes, 6U);
  EXPECT_EQ(cursors().bulk, 1U);
  EXPECT_EQ(own.receiving.drops, 2U);
}

TEST_F(MappedMember, sends_through_its_lane_and_waits_for_room_there) {
  ASSERT_TRUE(send("one"));
  std::string first = "t";
  std::string rest = "wo";
  const iovec pieces[] = {{.iov_base = first.data(), .iov_len = first.size()},
                          {.iov_base = rest.data(), .iov_len = rest.size()}};
  ASSERT_TRUE(sender_->send(Pieces(pieces), kNow));
  EXPECT_EQ(take(), "one");
  EXPECT_EQ(take(), "two");
  const std::string message(kMtu, 'x');
  int sent = 0;
  while (send(message)) {
    ++sent;
  }
  EXPECT_GT(sent, 0);
  std::thread bus([&] {
    for (int left = sent; left > 0; --left) {
      EXPECT_EQ(take(), message);
    }
  });
  EXPECT_TRUE(send(message, kAlways));
  bus.join();
  EXPECT_EQ(take(), message);
}

TEST_F(MappedMember, lends_the_place_of_one_message) {
  const Space space = sender_->loan(100, 0, kNow).value();
  EXPECT_EQ(send("x").error().error, EBUSY);
  EXPECT_EQ(take(), "");
  std::memcpy(space.bytes.data(), "lent", 4);
  EXPECT_EQ(sender_->commit(space.id, 101, kNow).error().error, EINVAL);
  ASSERT_TRUE(sender_->commit(space.id, 4, kNow));
  EXPECT_EQ(take(), "lent");
  const Space other = sender_->loan(kMtu, 0, kNow).value();
  ASSERT_TRUE(sender_->cancel(other.id));
  EXPECT_EQ(sender_->loan(kMtu + 1, 0, kNow).error().error, EMSGSIZE);
  EXPECT_EQ(sender_->loan(0, 0, kNow).error().error, EINVAL);
}

TEST_F(MappedMember, that_joined_for_one_direction_is_refused_the_other) {
  attachment_.answer.flags = FLOWFS_BUS_RECEIVES;
  EXPECT_EQ(send("x").error().error, EBADF);
  attachment_.first_log.reset();
  BusReceiver mute(attachment_, SpinBudget(SpinPolicy::never, false));
  EXPECT_EQ(mute.borrow(kNow).error().error, EBADF);
  EXPECT_EQ(mute.skip().error().error, EBADF);
  EXPECT_FALSE(mute.arm());
}

TEST_F(MappedMember, that_is_the_only_sender_writes_the_log_itself) {
  BusAttachment direct;
  direct.tx = map(log_->fd(), log_->bytes().size());
  direct.slot = attachment_.slot;
  direct.answer = attachment_.answer;
  direct.answer.flags = FLOWFS_BUS_SENDS | FLOWFS_BUS_DIRECT;
  direct.answer.origin = kOther;
  BusSender writer(direct, SpinBudget(SpinPolicy::never, false));
  ASSERT_TRUE(writer.send(bytes_of("copied"), kNow));
  const Space space = writer.loan(6, 0, kNow).value();
  std::memcpy(space.bytes.data(), "placed", 6);
  EXPECT_EQ(receive().value(), "copied");
  EXPECT_EQ(error_of_receive(), EAGAIN);
  ASSERT_TRUE(writer.commit(space.id, 6, kNow));
  EXPECT_EQ(receive().value(), "placed");
  for (int number = 0; number < 50; ++number) {
    ASSERT_TRUE(writer.send(bytes_of(std::string(1000, 'x')), kNow));
  }
  EXPECT_TRUE(writer.is_ready());
  EXPECT_EQ(receive().value(), std::string(1000, 'x'));
}

}  // namespace
}  // namespace flowfs::lib
