// SPDX-License-Identifier: BSD-3-Clause
#include "lib/bus_sender.hpp"

#include <algorithm>
#include <utility>

#include "base/futex.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {
namespace {

// How long a close waits for a lossless bus that has no room.
constexpr Micros kPatience{1'000'000};

// The lane of a member, from which the bus takes messages.
class LaneOutlet final : public BusOutlet {
 public:
  explicit LaneOutlet(const BusAttachment& attachment)
      : writer_(*attachment.geometry, attachment.tx.bytes(), attachment.status().taken,
                pool::Generation{attachment.answer.generation}, attachment.answer.write),
        bell_(attachment.own().bell, attachment.status().sleep_data,
              attachment.status().sleep_room) {}

  Result<std::span<std::byte>> lend(std::size_t bytes) override {
    std::span<std::byte> place;
    switch (writer_.loan(bytes, place)) {
      case pool::LaneWriter::Outcome::ok:
        return place;
      case pool::LaneWriter::Outcome::full:
        return fail(EAGAIN, "the lane is full");
      case pool::LaneWriter::Outcome::corrupt:
        break;
    }
    return fail(EPROTO, "cursors of the bus");
  }
  void stage(std::size_t bytes) override { writer_.stage_loan(bytes); }
  void cancel() override { writer_.cancel_loan(); }
  void publish() override {
    writer_.publish();
    bell_.wake_data();
  }
  bool has_room(std::size_t bytes) override {
    return writer_.room_for(bytes, pool::LaneWriter::Use::loan) != pool::LaneWriter::Outcome::full;
  }
  bool has_room_for_any() override {
    return writer_.room_for_any() != pool::LaneWriter::Outcome::full;
  }
  bool is_drained() override {
    return writer_.refresh() != pool::LaneWriter::Outcome::ok ||
           writer_.reader_hot() == writer_.position().hot;
  }

 private:
  pool::LaneWriter writer_;
  pool::Bell bell_;
};

// The log of a bus of which this is the only sender. What is overtaken there makes room.
class LogOutlet final : public BusOutlet {
 public:
  explicit LogOutlet(const BusAttachment& attachment)
      : writer_(attachment.tx.bytes(), {.position = attachment.answer.write.hot,
                                        .sequence = attachment.answer.write.sequence}),
        origin_(attachment.answer.origin) {}

  Result<std::span<std::byte>> lend(std::size_t bytes) override {
    if (!writer_.can_hold(bytes)) {
      return fail(EMSGSIZE, "longer than half of the log");
    }
    writer_.make_room(bytes);
    return writer_.loan(bytes);
  }
  void stage(std::size_t bytes) override { writer_.stage_loan(bytes, origin_); }
  void cancel() override { writer_.cancel_loan(); }
  void publish() override {
    writer_.publish();
    writer_.ring();
  }
  bool has_room(std::size_t /*bytes*/) override { return true; }
  bool has_room_for_any() override { return true; }
  bool is_drained() override { return true; }

 private:
  pool::LogWriter writer_;
  std::uint32_t origin_;
};

std::unique_ptr<BusOutlet> outlet_of(const BusAttachment& attachment) {
  if (attachment.has(FLOWFS_BUS_DIRECT)) {
    return std::make_unique<LogOutlet>(attachment);
  }
  return std::make_unique<LaneOutlet>(attachment);
}

}  // namespace

BusSender::BusSender(const BusAttachment& attachment, SpinBudget spin)
    : attachment_(attachment),
      outlet_(outlet_of(attachment)),
      room_(spin),
      longest_(attachment.answer.mtu_bytes) {
  if (attachment.geometry) {
    sleeper_.emplace(attachment.own().sleep_room);
  }
}

BusSender::~BusSender() { drain(); }

// What is left in a lane whose tx is closed nobody takes any more.
void BusSender::drain() {
  const Instant deadline = later(Clock::now(), kPatience);
  while (!outlet_->is_drained() && attachment_.is_served() && Clock::now() < deadline) {
    const std::uint32_t bell = begin_sleep();
    if (!outlet_->is_drained()) {
      static_cast<void>(futex_wait(pool::futex_word(attachment_.status().bell), bell, deadline));
    }
    disarm();
  }
}

Status BusSender::check_length(std::size_t bytes) const {
  if (!attachment_.has(FLOWFS_BUS_SENDS)) {
    return fail(EBADF, "joined to receive only");
  }
  if (bytes == 0) {
    return fail(EINVAL, "an empty message");
  }
  return bytes <= longest_ ? Status{} : fail(EMSGSIZE, "longer than the mtu");
}

Status BusSender::ready_to_stage() const {
  return loan_ ? fail(EBUSY, "a message is being written") : attachment_.may_send();
}

Status BusSender::stage(Pieces message) {
  if (Status ready = ready_to_stage(); !ready) {
    return ready;
  }
  const std::size_t bytes = total_bytes(message);
  const auto place = outlet_->lend(bytes);
  if (!place) {
    return std::unexpected(place.error());
  }
  gather(message, *place);
  outlet_->stage(bytes);
  return {};
}

Status BusSender::send(Pieces message, const Wait& wait) {
  const std::size_t bytes = total_bytes(message);
  if (Status checked = check_length(bytes); !checked) {
    return checked;
  }
  return when_room(bytes, wait, [&]() -> Status {
    Status staged = stage(message);
    if (staged) {
      outlet_->publish();
    }
    return staged;
  });
}

Status BusSender::send(std::span<const std::byte> message, const Wait& wait) {
  // iovec is of both directions. NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
  const iovec piece{.iov_base = const_cast<std::byte*>(message.data()), .iov_len = message.size()};
  return send(Pieces(&piece, 1), wait);
}

// Until there is no room; that is an obstacle only for the first. Shown all at once.
Result<std::size_t> BusSender::send_many(Pieces messages, const Wait& wait) {
  std::size_t sent = 0;
  const std::size_t first = messages.empty() ? 0 : messages.front().iov_len;
  const Status done = when_room(first, wait, [&]() -> Status {
    Status staged;
    while (staged && sent < messages.size()) {
      staged = check_length(messages[sent].iov_len);
      if (staged) {
        staged = stage(messages.subspan(sent, 1));
      }
      sent += staged ? 1 : 0;
    }
    if (sent == 0) {
      return staged;
    }
    outlet_->publish();
    return {};
  });
  return done ? Result<std::size_t>(sent) : std::unexpected(done.error());
}

Result<Space> BusSender::loan(std::size_t bytes, std::size_t /*block_least*/, const Wait& wait) {
  if (const Status checked = check_length(bytes); !checked) {
    return std::unexpected(checked.error());
  }
  Space space;
  const Status lent = when_room(bytes, wait, [&]() -> Status {
    if (Status ready = ready_to_stage(); !ready) {
      return ready;
    }
    const auto place = outlet_->lend(bytes);
    if (!place) {
      return std::unexpected(place.error());
    }
    loan_ = Loan{.id = ++last_id_, .bytes = bytes};
    space = {.bytes = *place, .id = last_id_};
    return {};
  });
  return lent ? Result<Space>(space) : std::unexpected(lent.error());
}

Status BusSender::commit(std::uint64_t id, std::size_t bytes, const Wait& /*wait*/) {
  if (!loan_ || loan_->id != id || bytes == 0 || bytes > loan_->bytes) {
    return fail(EINVAL, "no such loan");
  }
  loan_.reset();
  Status allowed = attachment_.may_send();
  if (allowed) {
    outlet_->stage(bytes);
    outlet_->publish();
  } else {
    outlet_->cancel();
  }
  return allowed;
}

Status BusSender::cancel(std::uint64_t id) {
  if (!loan_ || loan_->id != id) {
    return fail(EINVAL, "no such loan");
  }
  loan_.reset();
  outlet_->cancel();
  return {};
}

Result<bool> BusSender::send_block(PooledMessage& message, const Wait& wait) {
  const Status sent = send(std::span<const std::byte>(message.bytes()), wait);
  return sent ? Result<bool>(false) : std::unexpected(sent.error());
}

// --- waiting ---

// Returns the value of the bell to wait on. Only where there may be no room.
std::uint32_t BusSender::begin_sleep() { return sleeper_->begin(attachment_.status().bell); }

void BusSender::disarm() {
  if (sleeper_) {
    sleeper_->end();
  }
}

// False: there is no room, and the call may not wait; it is left asleep for whoever polls.
bool BusSender::sleep(std::size_t bytes, const Wait& wait) {
  const std::uint32_t bell = begin_sleep();
  if (can_go_on(bytes)) {
    return true;
  }
  if (!wait.blocks) {
    return false;
  }
  // Whatever ends it: look again.
  static_cast<void>(futex_wait(pool::futex_word(attachment_.status().bell), bell, wait.deadline()));
  return true;
}

bool BusSender::is_ready() {
  return loan_ || outlet_->has_room_for_any() || !attachment_.may_send();
}

std::optional<Doorbell> BusSender::arm() {
  if (is_ready()) {
    return std::nullopt;
  }
  Doorbell bell{.word = pool::futex_word(attachment_.status().bell),
                .value = begin_sleep(),
                .keeps = nullptr};
  if (is_ready()) {
    disarm();
    return std::nullopt;
  }
  return bell;
}

}  // namespace flowfs::lib
