// SPDX-License-Identifier: BSD-3-Clause
#include "fs/pcap_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <time.h>

#include <algorithm>
#include <utility>

namespace flowfs::fs {
namespace {

constexpr std::size_t kBlockBytes = 64;  // of a packet's block, beside the packet, and its string

std::uint64_t wall_clock_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

Captures::~Captures() {
  for (PcapFile* reader : readers_) {
    reader->on_bus_gone();
  }
}

void Captures::add(bus::PortNumber port, std::span<const std::byte> message) {
  for (PcapFile* reader : readers_) {
    reader->add(port, message);
  }
}

void Captures::set_link_type(bus::PcapngWriter::LinkType type) {
  for (PcapFile* reader : readers_) {
    reader->set_link_type(type);
  }
}

PcapFile::PcapFile(Captures& captures, Parking& parking, Replies& replies, Node node, int flags,
                   bus::PcapngWriter::LinkType type, registry::Charge kept)
    : File(replies, node, flags),
      captures_(&captures),
      parking_(parking),
      kept_(std::move(kept)),
      writer_(type, 0),
      readers_(parking) {
  captures.readers_.insert(this);
  std::string start;
  bus::PcapngWriter::start("flowfs " FLOWFS_VERSION, start);
  append(std::move(start));
}

PcapFile::~PcapFile() {
  if (captures_ != nullptr) {
    captures_->readers_.erase(this);
  }
}

void PcapFile::append(std::string block) {
  bytes_ += block.size();
  blocks_.push_back(std::move(block));
}

void PcapFile::add(bus::PortNumber port, std::span<const std::byte> message) {
  Source& source = sources_[port];
  ++source.seen;
  // A packet longer than all of the room is kept when nothing else is.
  if (bytes_ + message.size() + kBlockBytes > kMostBytes && !blocks_.empty()) {
    ++source.lost;
    ++source.lost_since;
    lossy_ = true;
    return;
  }
  std::string block;
  if (!source.interface) {
    source.interface = writer_.interface(fmt::format("port {}", std::to_underlying(port)), block);
    append(std::exchange(block, {}));
  }
  const std::uint64_t now_ns = wall_clock_ns();
  tell_lost(now_ns);
  writer_.packet({.interface = *source.interface,
                  .time_ns = now_ns,
                  .bytes = message,
                  .length = message.size(),
                  .dropped = std::exchange(source.lost_since, 0)},
                 block);
  append(std::move(block));
  while (!readers_.empty() && !blocks_.empty()) {
    const Parked parked = readers_.take_front();
    answer(parked.request, parked.size);
  }
  notify();
}

// The ports become other interfaces, as an interface keeps its type.
void PcapFile::set_link_type(bus::PcapngWriter::LinkType type) {
  tell_lost(wall_clock_ns());
  sources_.clear();
  writer_.set_link_type(type);
}

void PcapFile::tell_lost(std::uint64_t now_ns) {
  if (!std::exchange(lossy_, false)) {
    return;
  }
  for (const auto& [port, source] : sources_) {
    if (source.interface) {
      std::string block;
      writer_.statistics(*source.interface,
                         {.time_ns = now_ns, .received = source.seen, .dropped = source.lost},
                         block);
      append(std::move(block));
    }
  }
}

// As many whole blocks as fit, and at least a part of one.
void PcapFile::answer(Request request, std::size_t size) {
  std::string text;
  while (text.size() < size && !blocks_.empty()) {
    const std::string& block = blocks_.front();
    const std::size_t rest = block.size() - taken_;
    if (!text.empty() && rest > size - text.size()) {
      break;
    }
    const std::size_t part = std::min(rest, size - text.size());
    text.append(block, taken_, part);
    taken_ += part;
    if (taken_ == block.size()) {
      taken_ = 0;
      bytes_ -= block.size();
      blocks_.pop_front();
    }
  }
  fuse_reply_buf(request.raw, text.data(), text.size());
}

void PcapFile::read(Request request, std::size_t size, const Transfer& transfer) {
  if (transfer.through_cache) {
    replies_.error(request, EINVAL);
  } else if (size == 0 || captures_ == nullptr || !blocks_.empty()) {
    answer(request, size);
  } else if ((transfer.flags & O_NONBLOCK) != 0) {
    replies_.error(request, EAGAIN);
  } else {
    parking_.park(readers_, {.request = request, .file = this, .size = size});
  }
}

unsigned PcapFile::ready() {
  const unsigned ended = captures_ == nullptr ? POLLIN | POLLRDNORM | POLLHUP : 0;
  return blocks_.empty() ? ended : ended | POLLIN | POLLRDNORM;
}

void PcapFile::on_bus_gone() {
  captures_ = nullptr;
  while (!readers_.empty()) {
    const Parked parked = readers_.take_front();
    answer(parked.request, parked.size);
  }
  notify();
}

}  // namespace flowfs::fs
