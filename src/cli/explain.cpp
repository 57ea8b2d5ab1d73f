// SPDX-License-Identifier: BSD-3-Clause
#include "cli/explain.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace flowfs::cli {
namespace {

std::string_view verb(Deed deed) {
  switch (deed) {
    case Deed::read_tree:
      return "read";
    case Deed::dial:
      return "dial";
    case Deed::accept:
      return "accept flows of";
    case Deed::make_name:
      return "make";
    case Deed::remove_name:
      return "remove";
    case Deed::transfer:
      return "use the flow of";
    case Deed::identify:
      return "identify";
    case Deed::bus:
      return "use";
  }
  return "use";
}

struct Advice {
  Deed deed;
  int error;
  std::string_view text;
};

constexpr std::array kAdvice{
    Advice{Deed::read_tree, ENOENT,
           "nothing is mounted there, or the object has gone; `flowctl doctor` says which"},
    Advice{Deed::read_tree, EACCES,
           "its mode keeps you out; its owner can change that with chmod or setfacl"},
    Advice{Deed::dial, ENOENT, "no such name; `flowctl status` lists them"},
    Advice{Deed::dial, EACCES,
           "you may not dial it; its owner can let you with chmod or setfacl on its dial file"},
    Advice{Deed::dial, ECONNREFUSED,
           "nobody is accepting and its dial_timeout is 0; start its server, or `flowctl serve`"},
    Advice{Deed::dial, ETIMEDOUT,
           "no server accepted within its dial_timeout; is the server running?"},
    Advice{Deed::dial, EAGAIN, "its backlog is full of dials that wait for the server"},
    Advice{Deed::dial, EDQUOT,
           "you are at a limit; `usage` and `limits` in users/UID of the mount say which"},
    Advice{Deed::dial, ENFILE, "the daemon is at a limit of its own; root can see it in `metrics`"},
    Advice{Deed::accept, ENOENT, "no such name; it may have been removed just now"},
    Advice{Deed::accept, EACCES,
           "you may not serve it; its owner can let you with chmod or setfacl on its accept file"},
    Advice{Deed::accept, EDQUOT,
           "you are at a limit; `usage` and `limits` in users/UID of the mount say which"},
    Advice{Deed::accept, ENFILE,
           "the daemon is at a limit of its own; root can see it in `metrics`"},
    Advice{Deed::make_name, EINVAL,
           "a name has letters, digits and . _ : @ - only, and does not begin with a dot"},
    Advice{Deed::make_name, ENAMETOOLONG, "a name has at most 255 characters"},
    Advice{Deed::make_name, ENOENT, "nothing is mounted there; `flowctl doctor` says why"},
    Advice{Deed::make_name, EDQUOT,
           "you own as many names as you may; remove some, or ask root for a higher limit"},
    Advice{Deed::remove_name, EBUSY, "a server still waits on it or a flow of it is alive"},
    Advice{Deed::transfer, EPIPE, "the other side does not receive, or has closed"},
    Advice{Deed::transfer, EMSGSIZE, "the message is longer than the mtu of the name"},
    Advice{Deed::transfer, EBUSY, "this end is in mapped mode"},
    Advice{Deed::transfer, EPROTO, "the other side wrote nonsense into its shared memory"},
    Advice{Deed::transfer, EDQUOT,
           "you are at a limit; `usage` and `limits` in users/UID of the mount say which"},
    Advice{Deed::identify, EBADF,
           "it is not open here; give it to flowctl as the shell has it: flowctl id 3 3<&3"},
    Advice{Deed::identify, ENOTTY, "it is open, but it is not an end of a flow"},
    Advice{Deed::identify, EINVAL, "it is open, but it is not an end of a flow"},
    Advice{Deed::bus, ENOENT, "no such bus; `flowctl bus list` lists them"},
    Advice{Deed::bus, EACCES,
           "you may not receive or send there; who manages it can let you with chmod or setfacl on "
           "its bus file"},
    Advice{Deed::bus, EADDRNOTAVAIL, "it has as many members as its `ports` allows"},
    Advice{Deed::bus, EBUSY, "as many members may send as its `writers` allows"},
    Advice{Deed::bus, ECONNABORTED,
           "it was too slow for longer than `evict` of the bus allows, or the daemon has ended"},
    Advice{Deed::bus, EDQUOT,
           "you are at a limit; `usage` and `limits` in users/UID of the mount say which"},
    Advice{Deed::bus, ENFILE, "the daemon is at a limit of its own; root can see it in `metrics`"},
    Advice{Deed::bus, EMSGSIZE, "the message is longer than the mtu of the bus"},
};

}  // namespace

std::string errno_in_words(int error) {
  const char* const name = strerrorname_np(error);
  const char* const text = strerrordesc_np(error);
  return fmt::format("{} ({})", text != nullptr ? text : "unknown error",
                     name != nullptr ? std::string(name) : fmt::format("errno {}", error));
}

std::string_view advice(Deed deed, int error) {
  for (const Advice& entry : kAdvice) {
    if (entry.deed == deed && entry.error == error) {
      return entry.text;
    }
  }
  // The same whatever else was being done: the daemon is not there.
  if (error == ENOTCONN || error == ECONNABORTED) {
    return "the daemon that served this mount has ended; start flowfsd again";
  }
  return {};
}

std::string explain(Deed deed, std::string_view object, int error) {
  const std::string_view text = advice(deed, error);
  return fmt::format("cannot {} {}: {}{}{}", verb(deed), object, errno_in_words(error),
                     text.empty() ? "" : "; ", text);
}

}  // namespace flowfs::cli
