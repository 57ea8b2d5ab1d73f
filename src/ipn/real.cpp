// SPDX-License-Identifier: BSD-3-Clause
#include "ipn/real.hpp"

#include <dlfcn.h>

namespace flowfs::ipn {
namespace {

template <typename Function>
void find_next(Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

Real find_all() {
  Real found{};
  find_next(found.socket, "socket");
  find_next(found.bind, "bind");
  find_next(found.connect, "connect");
  find_next(found.shutdown, "shutdown");
  find_next(found.getsockopt, "getsockopt");
  find_next(found.setsockopt, "setsockopt");
  find_next(found.send, "send");
  find_next(found.sendto, "sendto");
  find_next(found.sendmsg, "sendmsg");
  find_next(found.recv, "recv");
  find_next(found.recvfrom, "recvfrom");
  find_next(found.recvmsg, "recvmsg");
  find_next(found.recv_chk, "__recv_chk");
  find_next(found.recvfrom_chk, "__recvfrom_chk");
  return found;
}

}  // namespace

const Real& real() {
  static const Real found = find_all();
  return found;
}

}  // namespace flowfs::ipn
