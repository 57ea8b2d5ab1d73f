// SPDX-License-Identifier: BSD-3-Clause
#include "pool/bus_log.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "pool/shared.hpp"

namespace flowfs::pool {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPopulateStep = std::uint64_t{1} << 20;
// A reader that was overtaken so often in a row lets the caller look for something else to do.
constexpr int kMostFallBacks = 64;
// Of what a reader keeps of a record beside its message in MessageLog::cost(), rounded up.
constexpr std::uint64_t kKeptBytes = 64;

using Word = std::uint64_t;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

std::uint64_t ring_of(std::span<const std::byte> memory) {
  FLOWFS_CHECK(memory.size() > FLOWFS_LOG_HEADER_BYTES && memory.size() % kPage == 0);
  return memory.size() - FLOWFS_LOG_HEADER_BYTES;
}

Word first_word(std::uint32_t length, std::uint32_t origin) {
  const flowfs_log_record record{.length = length, .origin = origin, .sequence = 0};
  Word word = 0;
  std::memcpy(&word, &record, sizeof word);
  return word;
}

void store_word(std::byte* at, Word word) {
  // release, pairs with load_word: a reader that sees this word sees the floor stored before it.
  shared(*reinterpret_cast<Word*>(at)).store(word, std::memory_order_release);
}

Word load_word(const std::byte* at) {
  // acquire, pairs with store_word: the look at the floor afterwards is not from before.
  return shared(*reinterpret_cast<const Word*>(at)).load(std::memory_order_acquire);
}

void store_bytes(std::byte* to, std::span<const std::byte> from) {
  Word word = 0;
  for (; from.size() >= sizeof word; from = from.subspan(sizeof word), to += sizeof word) {
    std::memcpy(&word, from.data(), sizeof word);
    store_word(to, word);
  }
  if (!from.empty()) {
    word = 0;
    std::memcpy(&word, from.data(), from.size());
    store_word(to, word);
  }
}

void load_bytes(std::span<std::byte> to, const std::byte* from) {
  for (; to.size() >= sizeof(Word); to = to.subspan(sizeof(Word)), from += sizeof(Word)) {
    const Word word = load_word(from);
    std::memcpy(to.data(), &word, sizeof word);
  }
  if (!to.empty()) {
    const Word word = load_word(from);
    std::memcpy(to.data(), &word, to.size());
  }
}

}  // namespace

// --- LogWriter
// -------------------------------------------------------------------------------------

LogWriter::LogWriter(std::span<std::byte> memory, Start start)
    : memory_(memory),
      ring_(ring_of(memory)),
      floor_(start.position),
      published_(start.position),
      staged_(start.position),
      last_(start.position),
      sequence_(start.sequence) {}

std::uint64_t LogWriter::padding_for(std::size_t bytes) const {
  const std::uint64_t rest = ring_ - staged_ % ring_;
  return log_cost(bytes) > rest ? rest : 0;
}

std::uint64_t LogWriter::reach(std::size_t bytes) const {
  return padding_for(bytes) != 0 ? ring_ : staged_ % ring_ + log_cost(bytes);
}

bool LogWriter::has_room(std::size_t bytes) const {
  return staged_ - floor_ + padding_for(bytes) + log_cost(bytes) <= ring_;
}

void LogWriter::make_room(std::size_t bytes) {
  FLOWFS_CHECK(can_hold(bytes) && !loaned_);
  while (!has_room(bytes)) {
    drop_first();
  }
}

// The writer's own memory tells it where the next record begins: it alone can write there.
void LogWriter::drop_first() {
  const auto length = static_cast<std::uint32_t>(load_word(at(floor_)));
  const bool padding = (length & FLOWFS_LOG_PADDING) != 0;
  give_up_to(floor_ + (padding ? length & ~FLOWFS_LOG_PADDING : log_cost(length)));
}

void LogWriter::give_up_to(std::uint64_t position) {
  if (position > published_) {
    publish();  // a batch of which nobody will read all
  }
  FLOWFS_CHECK(position >= floor_ && position <= published_);
  floor_ = position;
  // seq_cst, an exchange: what is written behind it, plainly too (loan()), is written after it.
  // Pairs with the acquire load in LogReader::intact.
  shared(header().floor).exchange(position, std::memory_order_seq_cst);
}

void LogWriter::put_header(std::uint32_t length, std::uint32_t origin) {
  std::byte* const to = at(staged_);
  store_word(to, first_word(length, origin));
  store_word(to + sizeof(Word), sequence_);
}

void LogWriter::pad(std::size_t bytes) {
  const std::uint64_t padding = padding_for(bytes);
  if (padding != 0) {
    put_header(FLOWFS_LOG_PADDING | static_cast<std::uint32_t>(padding), 0);
    staged_ += padding;
  }
}

std::uint64_t LogWriter::append(std::span<const std::byte> message, std::uint32_t origin) {
  FLOWFS_CHECK(!message.empty() && has_room(message.size()) && !loaned_);
  pad(message.size());
  put_header(static_cast<std::uint32_t>(message.size()), origin);
  store_bytes(at(staged_) + sizeof(flowfs_log_record), message);
  last_ = staged_;
  ++sequence_;
  payload_bytes_ += message.size();
  return staged_ += log_cost(message.size());
}

std::span<std::byte> LogWriter::loan(std::size_t bytes) {
  FLOWFS_CHECK(bytes != 0 && has_room(bytes) && !loaned_);
  pad(bytes);
  loaned_ = true;
  return {at(staged_) + sizeof(flowfs_log_record), bytes};
}

void LogWriter::stage_loan(std::size_t bytes, std::uint32_t origin) {
  FLOWFS_CHECK(bytes != 0 && loaned_);
  loaned_ = false;
  put_header(static_cast<std::uint32_t>(bytes), origin);
  last_ = staged_;
  ++sequence_;
  payload_bytes_ += bytes;
  staged_ += log_cost(bytes);
}

void LogWriter::publish() {
  if (staged_ == published_) {
    return;
  }
  published_ = staged_;
  // relaxed: a figure that stands for itself.
  shared(header().sent_bytes).store(payload_bytes_, std::memory_order_relaxed);
  // seq_cst, pairs with LogReader::look: publishes the records; precedes the ring of the bell.
  shared(header().tail).store(published_, std::memory_order_seq_cst);
  // release, pairs with LogReader::skip_to_newest: whoever sees it sees a tail behind it.
  shared(header().last).store(last_, std::memory_order_release);
}

void LogWriter::ring(flowfs_log& log) {
  // seq_cst: a reader that loaded the bell before this does not sleep; one that loads it afterwards
  // sees the tail that was stored before.
  shared(log.bell).fetch_add(1, std::memory_order_seq_cst);
  futex_wake(futex_word(log.bell));
}

// --- LogReader
// -------------------------------------------------------------------------------------

LogReader::LogReader(std::span<const std::byte> memory, std::uint64_t position,
                     std::uint64_t sequence, std::uint32_t own)
    : memory_(memory),
      ring_(ring_of(memory)),
      position_(position),
      sequence_(sequence),
      own_(own),
      tail_(position),
      corrupt_(position % FLOWFS_RECORD_ALIGN != 0) {}

LogReader::Outcome LogReader::peek(Record& record) {
  bool fresh = false;
  for (int tries = 0; !peeked_ && !corrupt_ && tries < kMostFallBacks;) {
    if (const Outcome there = look(fresh); there != Outcome::record) {
      return there;
    }
    tries += take() ? 0 : 1;
  }
  if (corrupt_) {
    peeked_.reset();
    return Outcome::corrupt;
  }
  if (!peeked_) {
    return Outcome::empty;  // and the bell has changed since the first look
  }
  record = *peeked_;
  return Outcome::record;
}

LogReader::Outcome LogReader::look(bool& fresh) {
  if (end_ && position_ >= *end_) {
    return Outcome::end;
  }
  if (position_ >= tail_ && !std::exchange(fresh, true)) {
    const std::uint64_t tail = published();
    if (!end_ && tail < position_) {
      corrupt_ = true;
      return Outcome::corrupt;
    }
    // Whoever closed the log has seen the tail there, whatever has become of it since.
    tail_ = std::max(tail, end_.value_or(0));
  }
  return position_ < tail_ ? Outcome::record : Outcome::empty;
}

std::uint64_t LogReader::published() const {
  // seq_cst, pairs with LogWriter::publish.
  return shared(header().tail).load(std::memory_order_seq_cst);
}

// False where the reader was overtaken.
bool LogReader::take() {
  const std::uint64_t offset = position_ % ring_;
  const std::byte* const at = memory_.data() + FLOWFS_LOG_HEADER_BYTES + offset;
  const Word first = load_word(at);
  const std::uint64_t sequence = load_word(at + sizeof(Word));
  if (!intact()) {
    return fall_back();
  }
  if (tail_ - position_ > ring_) {  // and the floor is not past it
    corrupt_ = true;
    return true;
  }
  flowfs_log_record header{};
  std::memcpy(&header, &first, sizeof first);
  const std::uint64_t rest = ring_ - offset;
  if ((header.length & FLOWFS_LOG_PADDING) != 0) {
    corrupt_ = offset == 0 || (header.length & ~FLOWFS_LOG_PADDING) != rest;
    position_ += rest;
    return true;
  }
  const bool gap = sequence_ != FLOWFS_SEQUENCE_ANY && sequence != sequence_;
  if (header.length == 0 || log_cost(header.length) > rest ||
      position_ + log_cost(header.length) > tail_ ||
      (gap && (!overtaken_ || sequence < sequence_))) {
    corrupt_ = true;
    return true;
  }
  lost_ += gap ? sequence - sequence_ : 0;
  overtaken_ = false;
  sequence_ = sequence;
  next_ = position_ + log_cost(header.length);
  if (own_ != 0 && header.origin == own_) {
    position_ = next_;
    ++sequence_;
    return true;
  }
  peeked_ = Record{.payload = {at + sizeof(flowfs_log_record), header.length},
                   .sequence = sequence,
                   .origin = header.origin};
  return true;
}

// To the oldest record that is left.
bool LogReader::fall_back() {
  const std::uint64_t floor = shared(header().floor).load(std::memory_order_acquire);
  const std::uint64_t tail = published();
  corrupt_ = floor % FLOWFS_RECORD_ALIGN != 0 || floor > tail || floor < position_;
  position_ = floor;
  tail_ = tail;
  overtaken_ = true;
  peeked_.reset();
  return false;
}

bool LogReader::intact() const {
  // acquire, pairs with LogWriter::give_up_to: whoever saw a byte of what was laid over this record
  // sees the floor past it.
  return shared(header().floor).load(std::memory_order_acquire) <= position_;
}

bool LogReader::copy(std::span<std::byte> to) {
  FLOWFS_CHECK(peeked_.has_value() && to.size() <= peeked_->payload.size());
  load_bytes(to, peeked_->payload.data());
  return intact() || fall_back();
}

void LogReader::pop() {
  FLOWFS_CHECK(peeked_.has_value());
  peeked_.reset();
  position_ = next_;
  ++sequence_;
}

void LogReader::skip_to_newest() {
  // acquire, pairs with LogWriter::publish: the tail that look() loads is behind it.
  const std::uint64_t last = shared(header().last).load(std::memory_order_acquire);
  if (last > position_ && (!end_ || last < *end_)) {
    corrupt_ = corrupt_ || last % FLOWFS_RECORD_ALIGN != 0;
    peeked_.reset();
    position_ = last;
    sequence_ = FLOWFS_SEQUENCE_ANY;
    overtaken_ = false;
  }
}

// --- Log
// -------------------------------------------------------------------------------------------

std::uint64_t Log::ring_for(std::uint64_t mtu_bytes, std::uint64_t depth_bytes) {
  const std::uint64_t longest = log_cost(mtu_bytes) + kKeptBytes;
  return round_up(std::max(depth_bytes, longest) + 2 * longest, kPage);
}

Result<Log> Log::create(std::uint64_t ring_bytes, std::uint64_t generation) {
  FLOWFS_CHECK(ring_bytes != 0 && ring_bytes % kPage == 0);
  const std::size_t bytes = FLOWFS_LOG_HEADER_BYTES + ring_bytes;
  auto fd = make_sealed_memfd("flowfs-log", bytes, FLOWFS_LOG_HEADER_BYTES);
  if (!fd) {
    return std::unexpected(fd.error());
  }
  auto mapping = Mapping::map(*fd, bytes, Mapping::Access::read_write);
  if (!mapping) {
    return std::unexpected(mapping.error());
  }
  Log log(std::move(*fd), std::make_shared<Mapping>(std::move(*mapping)), generation);
  flowfs_log& header = log.header();
  header.version = FLOWFS_LAYOUT_VERSION;
  header.header_bytes = FLOWFS_LOG_HEADER_BYTES;
  header.generation = generation;
  header.ring_bytes = ring_bytes;
  // release, pairs with the acquire load of whoever maps the log: the rest of the header is there.
  shared(header.magic).store(FLOWFS_LOG_MAGIC, std::memory_order_release);
  return log;
}

void Log::set_generation(std::uint64_t generation) {
  generation_ = generation;
  // release: for who maps it afterwards.
  shared(header().generation).store(generation, std::memory_order_release);
}

bool Log::is_intact() const {
  const flowfs_log& log = header();
  // acquire, all: its writer may change them at any time, and each is looked at once.
  return shared(log.magic).load(std::memory_order_acquire) == FLOWFS_LOG_MAGIC &&
         shared(log.version).load(std::memory_order_acquire) == FLOWFS_LAYOUT_VERSION &&
         shared(log.header_bytes).load(std::memory_order_acquire) == FLOWFS_LOG_HEADER_BYTES;
}

Status Log::populate(std::uint64_t end) {
  FLOWFS_CHECK(end <= ring_bytes());
  if (end <= populated_) {
    return {};
  }
  const std::uint64_t wanted = std::min(round_up(end, kPopulateStep), ring_bytes());
  if (::madvise(mapping_->data() + FLOWFS_LOG_HEADER_BYTES + populated_, wanted - populated_,
                MADV_POPULATE_WRITE) != 0) {
    return fail(errno == EFAULT ? ENOMEM : errno, "populating a log");
  }
  populated_ = wanted;
  return {};
}

void Log::discard() {
  // Cannot fail on a memfd of ours that is not sealed against writing; if it did, the memory would
  // only live as long as the mappings.
  (void)::madvise(mapping_->data(), mapping_->size(), MADV_REMOVE);
}

}  // namespace flowfs::pool
