// SPDX-License-Identifier: BSD-3-Clause
#include "fs/apart_tally.hpp"

#include <algorithm>

namespace flowfs::fs {

namespace {

std::uint64_t more(std::uint64_t all, std::uint64_t told, std::uint64_t most) {
  return std::min(std::max(all, told) - told, most);
}

}  // namespace

bus::PortCounts ApartTally::count(std::uint64_t sent, const Said& said) {
  const std::uint64_t here = std::max(sent, start_.sequence) - start_.sequence;
  bus::PortCounts now;
  now.lag = std::max(start_.messages + here, told_.lag);
  std::uint64_t read = 0;
  flowfs_log_tally tally{};
  if (said.generation == start_.generation) {
    const bool begun = said.sequence != FLOWFS_SEQUENCE_ANY && said.sequence > start_.sequence;
    read = start_.messages + (begun ? std::min(said.sequence - start_.sequence, here) : 0);
    tally = said.present;
    before_ = {.lost = more(said.former.lost, start_.told.lost, start_.messages),
               .bytes = more(said.former.bytes, start_.told.bytes, start_.bytes)};
  } else if (said.generation > start_.generation) {
    read = now.lag;  // it goes on in the next log
    tally = said.former;
  }
  read = std::clamp(read, told_.delivered + told_.dropped, now.lag);
  const std::uint64_t lost = std::min(tally.lost, here) + before_.lost;
  now.dropped = std::clamp(lost, told_.dropped, read - told_.delivered);
  now.delivered = read - now.dropped;
  const std::uint64_t before = said.generation < start_.generation ? 0 : before_.bytes;
  now.delivered_bytes = std::max(told_.delivered_bytes, before + tally.bytes);
  const bus::PortCounts change{.delivered = now.delivered - told_.delivered,
                               .delivered_bytes = now.delivered_bytes - told_.delivered_bytes,
                               .dropped = now.dropped - told_.dropped,
                               .lag = now.lag - told_.lag};
  told_ = now;
  return change;
}

}  // namespace flowfs::fs
