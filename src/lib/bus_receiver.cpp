// SPDX-License-Identifier: BSD-3-Clause
#include "lib/bus_receiver.hpp"

#include <algorithm>
#include <utility>

#include "base/futex.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib {

using pool::LogReader;

BusReceiver::BusReceiver(const BusAttachment& attachment, SpinBudget spin)
    : attachment_(attachment), log_(attachment.first_log), spin_(spin) {
  if (!log_) {
    return;  // it only sends
  }
  const flowfs_position& start = attachment.answer.read;
  const bool replaced = log_->generation != pool::Generation{attachment.answer.log_generation};
  if (replaced) {
    begin_log();
  } else {
    reader_.emplace(log_->bytes(), start.hot, start.sequence, attachment.answer.origin);
  }
  if (attachment.geometry) {
    flowfs_segment& own = attachment.own();
    if (replaced) {
      // relaxed, as in tell(). All of it, however much that was.
      pool::shared(own.former_log.lost).store(UINT64_MAX, std::memory_order_relaxed);
    }
    const flowfs_status& bus = attachment.status();
    bell_.emplace(own.bell, bus.sleep_data, bus.sleep_room);
    cursors_.emplace(*attachment.geometry, own.cursors, log_->generation, position());
  }
}

// What it has got of this log, and what not.
void BusReceiver::tell() const {
  flowfs_segment& own = attachment_.own();
  // relaxed: a figure that stands for itself. release, the others: as in follow(); the cursors are
  // stored after them.
  pool::shared(own.receiving.drops).store(lost_before_ + lost(), std::memory_order_relaxed);
  pool::shared(own.present_log.lost).store(lost(), std::memory_order_release);
  pool::shared(own.present_log.bytes).store(read_bytes_, std::memory_order_release);
}

// How far the bus may believe that this member has read.
void BusReceiver::publish() {
  if (!cursors_) {
    return;
  }
  tell();
  cursors_->publish(borrowed_.empty() ? position() : borrowed_.front().begin);
  bell_->wake_room();
}

void BusReceiver::step_over(std::size_t bytes) {
  reader_->pop();
  read_bytes_ += bytes;
  publish();
}

// At the first message there for who read the log before.
void BusReceiver::begin_log() {
  // acquire, pairs with the daemon's store before the slot spoke of this log.
  const std::uint64_t first = pool::shared(log_->header().first).load(std::memory_order_acquire);
  reader_.emplace(log_->bytes(), first, first == 0 ? 0 : FLOWFS_SEQUENCE_ANY,
                  attachment_.answer.origin);
}

// The log before has been read to its end, or what was left of it is gone.
Status BusReceiver::follow() {
  if (!borrowed_.empty()) {
    return fail(EBUSY, "messages of the former log are borrowed");
  }
  auto next = attachment_.map_log();
  if (!next) {
    return std::unexpected(next.error());
  }
  if (cursors_) {
    flowfs_segment& own = attachment_.own();
    // seq_cst: under no generation the tallies are of no log, while they change.
    pool::shared(own.cursors.generation).store(0, std::memory_order_seq_cst);
    // release, both: not seen before that.
    pool::shared(own.former_log.lost).store(lost(), std::memory_order_release);
    pool::shared(own.former_log.bytes).store(read_bytes_, std::memory_order_release);
  }
  log_ = std::move(*next);
  lost_before_ += lost();
  passed_over_ = 0;
  read_bytes_ = 0;
  begin_log();
  if (cursors_) {
    tell();
    cursors_.emplace(*attachment_.geometry, attachment_.own().cursors, log_->generation,
                     position());
    bell_->wake_room();
  }
  return {};
}

// Asks the status slot first, and again before it says that there is nothing.
Result<bool> BusReceiver::look(LogReader::Record& record) {
  if (!log_) {
    return fail(EBADF, "joined to send only");
  }
  while (true) {
    if (const Status member = attachment_.is_member(); !member) {
      return std::unexpected(member.error());
    }
    if (attachment_.is_deaf()) {
      return false;
    }
    const BusAttachment::LogEnd end = attachment_.end_of(log_->generation);
    if (end.position != FLOWFS_LANE_OPEN) {
      reader_->set_end(end.position);
    }
    const LogReader::Outcome found = end.gone ? LogReader::Outcome::end : reader_->peek(record);
    if (found == LogReader::Outcome::record) {
      return true;
    }
    if (found != LogReader::Outcome::empty && end.retired) {
      // Of a log whose writer lied, as of one that is read to its end, the next is the way on.
      if (const Status followed = follow(); !followed) {
        return attachment_.is_deaf() ? Result<bool>(false) : std::unexpected(followed.error());
      }
    } else if (attachment_.end_of(log_->generation) == end) {
      return nothing(found == LogReader::Outcome::corrupt);
    }
  }
}

// Why there is no message; the slot may say something else than before the look.
Result<bool> BusReceiver::nothing(bool corrupt) const {
  if (attachment_.is_deaf()) {
    return false;
  }
  if (corrupt) {
    return fail(EPROTO, "log of the bus");
  }
  const Status member = attachment_.is_member();
  return member ? fail(EAGAIN, "no message") : std::unexpected(member.error());
}

// False: it was overtaken meanwhile.
bool BusReceiver::copy(const LogReader::Record& record, Pieces into) {
  const std::size_t bytes = record.payload.size();
  if (into.size() == 1) {
    return reader_->copy(bytes_of(into.front()).first(bytes));
  }
  scratch_.resize(std::max(scratch_.size(), bytes));
  const std::span<std::byte> whole = std::span(scratch_).first(bytes);
  const bool copied = reader_->copy(whole);
  if (copied) {
    scatter(whole, into);
  }
  return copied;
}

Result<std::size_t> BusReceiver::try_receive(Pieces into) {
  LogReader::Record record;
  while (true) {
    if (const auto found = look(record); !found || !*found) {
      return found ? Result<std::size_t>(0) : std::unexpected(found.error());
    }
    if (record.payload.size() > total_bytes(into)) {
      if (!reader_->intact()) {
        continue;
      }
      return fail(EMSGSIZE, "longer than the buffer");
    }
    if (copy(record, into)) {
      step_over(record.payload.size());
      return record.payload.size();
    }
  }
}

Result<std::size_t> BusReceiver::receive(Pieces into, const Wait& wait) {
  Result<std::size_t> received = 0;
  const Status done = when_something(wait, [&]() -> Status {
    received = try_receive(into);
    return received ? Status{} : std::unexpected(received.error());
  });
  return done ? received : std::unexpected(done.error());
}

Result<std::size_t> BusReceiver::receive_many(std::span<iovec> into, const Wait& wait) {
  std::size_t count = 0;
  for (iovec& piece : into) {
    const Pieces one(&piece, 1);
    const auto received = count == 0 ? receive(one, wait) : try_receive(one);
    if (!received && count == 0) {
      return received;
    }
    if (!received || *received == 0) {
      break;
    }
    piece.iov_len = *received;
    ++count;
  }
  return count;
}

// --- in place ---

Status BusReceiver::try_borrow(View& view) {
  LogReader::Record record;
  if (const auto found = look(record); !found || !*found) {
    return found ? Status{} : std::unexpected(found.error());
  }
  view = {.bytes = record.payload, .id = ++last_id_};
  borrowed_.push_back({.id = view.id, .bytes = record.payload, .begin = position(), .copy = {}});
  step_over(record.payload.size());
  return {};
}

Result<View> BusReceiver::borrow(const Wait& wait) {
  View view;
  const Status done = when_something(wait, [&] { return try_borrow(view); });
  if (!done) {
    return std::unexpected(done.error());
  }
  return view;
}

// A log that is gone may have been taken back whole.
bool BusReceiver::is_intact(const Borrowed& message) const {
  // acquire, pairs with LogWriter::give_up_to, as LogReader::intact.
  const bool kept =
      pool::shared(log_->header().floor).load(std::memory_order_acquire) <= message.begin.hot &&
      !attachment_.end_of(log_->generation).gone && !attachment_.is_deaf();
  return kept || !message.copy.empty();
}

Status BusReceiver::settle(std::uint64_t id) {
  const auto found = std::ranges::find(borrowed_, id, &Borrowed::id);
  if (found == borrowed_.end() || !found->copy.empty()) {
    return {};
  }
  std::vector<std::byte> copy(found->bytes.begin(), found->bytes.end());
  if (!is_intact(*found)) {
    return fail(ESTALE, "overtaken");
  }
  found->copy = std::move(copy);
  found->bytes = found->copy;
  return {};
}

Status BusReceiver::release(std::uint64_t id) {
  const auto found = std::ranges::find(borrowed_, id, &Borrowed::id);
  if (found == borrowed_.end()) {
    return fail(EINVAL, "not borrowed");
  }
  const bool intact = is_intact(*found);
  borrowed_.erase(found);
  publish();
  return intact ? Status{} : fail(ESTALE, "overtaken");
}

std::optional<View> BusReceiver::find_view(std::uint64_t id) const {
  const auto found = std::ranges::find(borrowed_, id, &Borrowed::id);
  return found == borrowed_.end() ? std::nullopt
                                  : std::optional(View{.bytes = found->bytes, .id = id});
}

// Message by message, since what this member sent itself is none of them; but not for as long as
// somebody goes on to send.
Result<std::uint64_t> BusReceiver::skip() {
  LogReader::Record record;
  if (const auto found = look(record); !found || !*found) {
    const bool none = found || found.error().error == EAGAIN;
    return none ? Result<std::uint64_t>(0) : std::unexpected(found.error());
  }
  const std::uint64_t end = reader_->published();
  std::uint64_t skipped = 0;
  while (true) {
    LogReader ahead = *reader_;
    ahead.pop();
    if (ahead.position() >= end || ahead.peek(record) != LogReader::Outcome::record) {
      break;
    }
    *reader_ = ahead;
    ++skipped;
  }
  passed_over_ += skipped;
  publish();
  return skipped;
}

// --- waiting ---

void BusReceiver::sleep(const std::shared_ptr<const MappedLog>& log, std::uint32_t bell,
                        Instant deadline) {
  // Whatever ends it: look again.
  static_cast<void>(futex_wait(pool::futex_word(log->header().bell), bell, deadline));
}

bool BusReceiver::is_ready() {
  LogReader::Record record;
  const auto found = look(record);
  return found || found.error().error != EAGAIN;
}

std::optional<Doorbell> BusReceiver::arm() {
  while (log_) {
    Doorbell bell{.word = pool::futex_word(log_->header().bell), .value = 0, .keeps = log_};
    // acquire: as in when_something().
    bell.value = pool::shared(log_->header().bell).load(std::memory_order_acquire);
    if (is_ready()) {
      return std::nullopt;
    }
    if (bell.keeps == log_) {
      return bell;
    }
  }
  return std::nullopt;
}

}  // namespace flowfs::lib
