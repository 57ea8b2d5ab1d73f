// SPDX-License-Identifier: BSD-3-Clause
// What is behind a port of a bus: an open file, or a part of the daemon (a TAP, a VDE client).
//
// Threads: the bus's. The bus calls a member only from inside its own calls, and a call of the
// member on the bus from there is answered at once; but it must not join or leave from there.
#pragma once

#include <cstdint>

namespace flowfs::bus {

// One joining of one bus. Never used again, unlike the PortNumber that it has meanwhile.
enum class PortId : std::uint64_t {};

class Member {
 public:
  Member() = default;
  virtual ~Member() = default;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  // There is something to read.
  virtual void on_message() = 0;
  // What wait_for_room() or writable() found missing may be there. One call for each of those.
  virtual void on_room() = 0;
  // It is no member any more, as it blocked the bus too long or broke its rules; its unread
  // messages are dropped.
  virtual void on_cut_off() = 0;
};

}  // namespace flowfs::bus
