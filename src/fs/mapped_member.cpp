// SPDX-License-Identifier: BSD-3-Clause
#include "fs/mapped_member.hpp"

#include <algorithm>
#include <utility>

#include "fs/direct_bus.hpp"
#include "pool/shared.hpp"

namespace flowfs::fs {

using pool::LaneReader;

namespace {

constexpr int kBatch = 256;                 // messages taken before others get their turn
constexpr std::size_t kNoLaneBytes = 4096;  // hot ring of a member that only receives
constexpr pool::Position kStart{.hot = 0, .bulk = 0, .sequence = 0};

std::uint64_t slot_name(bus::PortId port) {
  return static_cast<std::uint64_t>(port) | FLOWFS_STATUS_MEMBER;
}

}  // namespace

MappedMember::MappedMember(Loop& loop, Buses& buses, const registry::Port& port,
                           std::uint64_t serial, Callback on_lie, Callback on_silent)
    : loop_(loop),
      buses_(buses),
      live_(buses.find(port.bus)),
      port_(port.id),
      opener_(port.opener),
      rights_(port.rights),
      number_(static_cast<std::uint32_t>(port.number)),
      serial_(serial),
      on_lie_(std::move(on_lie)),
      on_silent_(std::move(on_silent)) {}

MappedMember::~MappedMember() {
  wait_.reset();
  if (segment_) {
    segment_->discard();
  }
}

Result<pool::Geometry> MappedMember::geometry(const registry::BusSettings& settings,
                                              registry::Rights rights, std::size_t hot_ring_bytes) {
  return rights.send ? pool::Geometry::plan(settings.mtu_bytes, 0, hot_ring_bytes)
                     : pool::Geometry::plan(1, 0, kNoLaneBytes);
}

Status MappedMember::make_segment(const pool::Geometry& geometry, Backings& backings,
                                  registry::Charge charge) {
  auto segment = pool::Segment::create(geometry, slot_name(port_), pool::Generation{serial_});
  if (!segment) {
    return std::unexpected(segment.error());
  }
  if (!backings.handed_out()) {
    auto backing = backings.add(segment->fd().get());
    if (!backing) {
      return std::unexpected(backing.error());
    }
    backing_ = std::move(*backing);
    segment->close_fd();
  }
  geometry_ = geometry;
  mtu_bytes_ = geometry.mtu_bytes;
  charge_ = std::move(charge);
  segment_ = std::move(*segment);
  return {};
}

Status MappedMember::make_log(std::uint64_t ring_bytes, std::uint64_t mtu_bytes, Backings& backings,
                              registry::Charge charge) {
  auto log = DirectLog::make(ring_bytes, serial_, backings, std::move(charge));
  if (!log) {
    return std::unexpected(log.error());
  }
  mtu_bytes_ = mtu_bytes;
  direct_log_ = std::move(*log);
  return {};
}

Result<flowfs_bus_attach> MappedMember::attach(pool::StatusFile& statuses) {
  auto slot = statuses.allocate(slot_name(port_));
  if (!slot) {
    return std::unexpected(slot.error());
  }
  rights_ = buses_.registry().find_port(port_)->rights;  // it may have given one up since
  slot_ = std::move(*slot);
  slot_.set_state(FLOWFS_STATE_ALLOCATED);
  data_sleeper_.emplace(slot_.bus_words().sleep_data);
  room_sleeper_.emplace(slot_.bus_words().sleep_room);
  flowfs_bus_attach answer{};
  answer.version = FLOWFS_LAYOUT_VERSION;
  answer.status_slot = slot_.index();
  answer.member = static_cast<std::uint64_t>(port_);
  answer.mtu_bytes = static_cast<std::uint32_t>(mtu_bytes_);
  answer.uid = opener_.uid;
  answer.port = number_;
  answer.origin = origin();
  answer.flags =
      (rights_.receive ? FLOWFS_BUS_RECEIVES : 0) | (rights_.send ? FLOWFS_BUS_SENDS : 0);
  if (is_direct()) {
    answer.flags |= FLOWFS_BUS_DIRECT;
    return answer;
  }
  answer.generation = std::to_underlying(segment_->generation());
  attach_reader(answer);
  attach_sender(answer);
  arm();
  return answer;
}

void MappedMember::attach_reader(flowfs_bus_attach& answer) {
  if (!rights_.receive) {
    return;
  }
  std::uint64_t sequence = 0;
  if (live_->direct) {
    sequence = begin_apart();
    slot_.renew_lane(pool::Generation{log_generation_}, FLOWFS_LANE_OPEN);
  } else {
    sequence = begin_shared(FLOWFS_LANE_OPEN);
  }
  answer.log_generation = log_generation_;
  answer.read = {.hot = said_.position, .bulk = 0, .sequence = sequence};
}

void MappedMember::attach_sender(flowfs_bus_attach& answer) {
  flowfs_status& words = slot_.bus_words();
  flowfs_segment& header = segment_->header();
  taken_.emplace(geometry_, words.taken, segment_->generation(), kStart);
  bell_.emplace(words.bell, header.sleep_data, header.sleep_room);
  if (rights_.send) {
    lane_.emplace(geometry_, segment_->bytes(), kStart);
  } else {
    slot_.add_flags(FLOWFS_STATUS_MUTE);
  }
  answer.write = kStart;
  answer.bulk_offset = geometry_.bulk_offset();
  answer.bulk_bytes = geometry_.bulk_bytes;
  answer.hot_offset = static_cast<std::uint32_t>(geometry_.hot_offset());
  answer.hot_bytes = geometry_.hot_bytes;
  answer.inline_bytes = geometry_.inline_bytes;
}

void MappedMember::check(const pool::FaultGuard& guard) {
  if (guard.faulted()) {
    lie();
  }
}

void MappedMember::lie() {
  if (!std::exchange(lied_, true)) {
    slot_.add_flags(FLOWFS_STATUS_CORRUPT);
    on_lie_(port_);
  }
}

// --- what it sends ---

void MappedMember::serve() {
  if (live_ == nullptr || !lane_) {
    return;
  }
  const Buses::Batch batch(buses_, *live_);
  for (int taken = 0; taken < kBatch && !blocked_ && take_one(); ++taken) {
  }
  show_taken();
  if (end_lane()) {
    on_silent_(port_);
  }
}

// False where there is nothing to be taken, or no room for it.
bool MappedMember::take_one() {
  if (lied_) {
    return false;
  }
  const auto guard = this->guard();
  LaneReader::Record record;
  const LaneReader::Outcome outcome = lane_->peek(record);
  if (outcome == LaneReader::Outcome::corrupt || record.block) {
    lie();
  }
  check(guard);
  if (lied_ || outcome != LaneReader::Outcome::record) {
    return false;
  }
  // Copied once, by whoever keeps it; nothing in it is looked at.
  const int error = buses_.send(*live_, port_, record.payload);
  check(guard);
  if (error == EAGAIN) {
    blocked_ = true;
    live_->data.wait_for_room(port_, record.payload.size(), Clock::now());
    return false;
  }
  if (error != 0) {
    // relaxed: a number to be told, of no consequence.
    pool::shared(slot_.bus_words().refused).store(++refused_, std::memory_order_relaxed);
  }
  lane_->pop();
  if (taken_->due(lane_->position())) {
    show_taken();
  }
  return !lied_;
}

void MappedMember::on_room() {
  if (std::exchange(blocked_, false) && take_one()) {
    show_taken();
  }
  arm();  // for what follows, which waits for its turn again
}

void MappedMember::show_taken() {
  if (taken_->behind(lane_->position())) {
    const auto guard = this->guard();
    taken_->publish(lane_->position());
    bell_->wake_room();
    check(guard);
  }
}

void MappedMember::finish() {
  if (live_ == nullptr || !lane_ || lied_) {
    return;
  }
  const Buses::Batch batch(buses_, *live_);
  const auto guard = this->guard();
  const auto end = lane_end_ ? std::nullopt : pool::find_lane_end(*lane_);
  if (end) {
    lane_->set_end(end->hot);
    lane_end_ = end->hot;
  }
  while (lane_end_ && !blocked_ && take_one()) {
  }
}

bool MappedMember::stop_sending() {
  slot_.add_flags(FLOWFS_STATUS_MUTE);
  finish();
  if (lane_ && lane_end_) {
    show_taken();
  }
  // Who waits for room has nothing to wait for. Of a lane that has no end, the reader finds the
  // lie.
  pool::Bell::ring(slot_.bus_words().bell);
  rights_.send = rights_.send && lane_ && !end_lane();
  return !rights_.send;
}

// Whether all has been taken up to its end.
bool MappedMember::end_lane() {
  if (!lane_end_ || lane_->position().hot < *lane_end_) {
    return false;
  }
  lane_.reset();
  lane_end_.reset();
  slot_.set_state(FLOWFS_STATE_DEALLOC_PENDING);
  pool::Bell::ring(slot_.bus_words().bell);
  return true;
}

// --- what it reads ---

// Returns the number of the first message that it has to read there.
std::uint64_t MappedMember::begin_shared(std::uint64_t retired_at) {
  log_generation_ = live_->log->generation();
  const bus::Bus::Start start = live_->data.map(port_, *this);
  said_ = {.position = start.position};
  slot_.renew_lane(pool::Generation{log_generation_}, retired_at);
  return start.sequence;
}

bus::MappedReader::Said MappedMember::said() {
  if (lied_) {
    return said_;
  }
  const auto guard = this->guard();
  const flowfs_cursors& cursors = segment_->header().cursors;
  // seq_cst, pairs with CursorPublisher: the position is that of this log; and it follows the store
  // of sleep_room in arm().
  if (pool::shared(cursors.generation).load(std::memory_order_seq_cst) == log_generation_) {
    const std::uint64_t hot = pool::shared(cursors.hot).load(std::memory_order_seq_cst);
    if (hot < said_.position || hot > live_->log->end() || hot % FLOWFS_RECORD_ALIGN != 0) {
      lie();
    } else {
      const flowfs_log_tally& tally = segment_->header().present_log;
      // relaxed, both: figures that stand for themselves.
      const std::uint64_t lost = pool::shared(tally.lost).load(std::memory_order_relaxed);
      const std::uint64_t bytes = pool::shared(tally.bytes).load(std::memory_order_relaxed);
      said_ = {.position = hot,
               .lost = std::max(lost, said_.lost),
               .bytes = std::max(bytes, said_.bytes)};
    }
  }
  check(guard);
  return said_;
}

void MappedMember::await() {
  awaited_ = true;
  arm();
}

// --- sleeping ---

// Whether there is what it would be woken for.
bool MappedMember::has_something() {
  if (awaited_) {
    const std::uint64_t before = said_.position;
    if (said().position != before) {
      return true;
    }
  }
  LaneReader::Record record;
  return lane_ && !blocked_ && lane_->peek(record) != LaneReader::Outcome::empty;
}

// Goes to sleep on the member's bell, by the protocol of pool/bell.hpp; the wait is the loop's.
void MappedMember::arm() {
  const bool data = lane_ && !blocked_;
  if (live_ == nullptr || lied_ || (!data && !awaited_)) {
    return;
  }
  const auto guard = this->guard();
  const std::uint32_t& word = segment_->header().bell;
  std::optional<std::uint32_t> begun;
  const auto begin = [&](std::optional<pool::Sleeper>& sleeper) {
    if (!sleeper->asleep()) {
      const std::uint32_t now = sleeper->begin(word);
      begun = begun.value_or(now);  // the earlier one: no ring since then is missed
    }
  };
  if (data) {
    begin(data_sleeper_);
  }
  if (awaited_) {
    begin(room_sleeper_);
  }
  if (!begun && wait_.pending()) {
    return;  // asleep for all of it already
  }
  // acquire, as in Sleeper::begin.
  const std::uint32_t bell = begun ? *begun : pool::shared(word).load(std::memory_order_acquire);
  const bool ready = has_something();
  check(guard);
  if (!lied_ && (ready || !wait_.pending())) {
    // A value the bell has already left makes the wait end at once, in the loop and not in here.
    wait_ = loop_.futex_wait(pool::futex_word(word), ready ? bell - 1 : bell, segment_->mapping(),
                             [this] { rung(); });
  }
}

void MappedMember::disarm() {
  wait_.reset();
  data_sleeper_->end();
  room_sleeper_->end();
}

void MappedMember::rung() {
  disarm();
  if (std::exchange(awaited_, false)) {
    live_->data.has_read(Clock::now());
    buses_.settle(*live_);
  }
  serve();
  arm();
}

// --- leaving ---

void MappedMember::stop_receiving() {
  rights_.receive = false;
  apart_.reset();
  apart_end_.reset();
  slot_.close_lane(0);
}

void MappedMember::rest() {
  awaited_ = awaited_ && rights_.receive;
  disarm();
  arm();
}

void MappedMember::detach() {
  if (live_ != nullptr) {
    live_->data.stop_waiting(port_, Clock::now());
    live_->data.unmap(port_, Clock::now());
    buses_.settle(*live_);
  }
  port_gone();
}

void MappedMember::port_gone() {
  live_ = nullptr;
  if (!is_attached()) {
    return;
  }
  disarm();
  // The words outlive the slot: it is given back, or says what became of the member.
  std::uint32_t& bell = slot_.bus_words().bell;
  const bool shut_down = !rights_.receive && !rights_.send;
  if (!lied_ && !shut_down) {
    slot_.reset();
  }
  pool::Bell::ring(bell);
}

}  // namespace flowfs::fs
