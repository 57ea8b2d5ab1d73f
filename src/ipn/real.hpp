// SPDX-License-Identifier: BSD-3-Clause
// The functions that this library stands in front of: those of the C library, or of whatever else
// was preloaded behind it.
//
// Threads: any.
#pragma once

#include <sys/socket.h>

namespace flowfs::ipn {

struct Real {
  decltype(&::socket) socket;
  decltype(&::bind) bind;
  decltype(&::connect) connect;
  decltype(&::shutdown) shutdown;
  decltype(&::getsockopt) getsockopt;
  decltype(&::setsockopt) setsockopt;
  decltype(&::send) send;
  decltype(&::sendto) sendto;
  decltype(&::sendmsg) sendmsg;
  decltype(&::recv) recv;
  decltype(&::recvfrom) recvfrom;
  decltype(&::recvmsg) recvmsg;
  // What recv and recvfrom become with _FORTIFY_SOURCE.
  ssize_t (*recv_chk)(int, void*, size_t, size_t, int);
  ssize_t (*recvfrom_chk)(int, void*, size_t, size_t, int, sockaddr*, socklen_t*);
};

const Real& real();

}  // namespace flowfs::ipn
