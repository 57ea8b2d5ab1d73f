// SPDX-License-Identifier: BSD-3-Clause
#include "bus/message_log.hpp"

#include <algorithm>
#include <utility>

#include "base/result.hpp"

namespace flowfs::bus {

bool MessageLog::Record::is_for(PortId port) const {
  return audience ? std::ranges::binary_search(*audience, port) : port != sender;
}

void MessageLog::push(Record record) {
  const std::size_t cost_bytes = cost(record.length);
  records_.push_back(std::move(record));
  bytes_ += cost_bytes;
  settle();
}

void MessageLog::read(Place place) {
  Record& record = records_[place - first_];
  FLOWFS_CHECK(record.unread > 0);
  --record.unread;
  settle();
}

void MessageLog::read_again(Place place) {
  const std::size_t index = place - first_;
  ++records_[index].unread;
  while (settled_ > index) {
    --settled_;
    settled_bytes_ -= cost(records_[settled_].length);
  }
}

void MessageLog::pop() {
  const std::size_t cost_bytes = cost(records_.front().length);
  if (settled_ > 0) {
    --settled_;
    settled_bytes_ -= cost_bytes;
  }
  bytes_ -= cost_bytes;
  dropped_to_ = records_.front().shared.end;
  records_.pop_front();
  ++first_;
  settle();
}

void MessageLog::trim(std::uint64_t most) {
  while (settled_ > 0 && records_.size() > most) {
    pop();
  }
}

void MessageLog::settle() {
  while (settled_ < records_.size() && records_[settled_].unread == 0) {
    settled_bytes_ += cost(records_[settled_].length);
    ++settled_;
  }
}

}  // namespace flowfs::bus
