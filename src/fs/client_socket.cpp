// SPDX-License-Identifier: BSD-3-Clause
#include "fs/client_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <type_traits>

namespace flowfs::fs {
namespace {

// Where VDE clients bind their sockets if they may not beside the switch's.
constexpr std::array<std::string_view, 4> kUsual{"/var/run", "/run", "/var/tmp", "/tmp"};

// In effect until it is destroyed; nothing where the thread does not hold it in reserve.
class RaisedOverride {
 public:
  RaisedOverride() : raised_(set(CAP_SET)) {}
  ~RaisedOverride() {
    if (raised_) {
      set(CAP_CLEAR);
    }
  }
  RaisedOverride(const RaisedOverride&) = delete;
  RaisedOverride& operator=(const RaisedOverride&) = delete;

 private:
  struct FreeCaps {
    void operator()(cap_t caps) const { cap_free(caps); }
  };
  using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCaps>;

  // Whether it changed anything.
  static bool set(cap_flag_value_t wanted) {
    constexpr cap_value_t kOverride = CAP_DAC_OVERRIDE;
    const Caps caps(cap_get_proc());
    cap_flag_value_t now = wanted;
    return caps && cap_get_flag(caps.get(), kOverride, CAP_EFFECTIVE, &now) == 0 && now != wanted &&
           cap_set_flag(caps.get(), CAP_EFFECTIVE, 1, &kOverride, wanted) == 0 &&
           cap_set_proc(caps.get()) == 0;
  }

  bool raised_;
};

// A socket of `owner`'s in `folder`, held but not opened.
Result<Fd> hold(const Fd& folder, const std::string& name, uid_t owner) {
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  Fd held(static_cast<int>(::syscall(SYS_openat2, folder.get(), name.c_str(), &how, sizeof how)));
  struct stat found{};
  if (!held || ::fstat(held.get(), &found) != 0) {
    return fail_errno("socket of a client");
  }
  if (!S_ISSOCK(found.st_mode)) {
    return fail(ENOTSOCK, "socket of a client");
  }
  if (found.st_uid != owner) {
    return fail(EPERM, "socket of a client");
  }
  return held;
}

Result<Fd> connect_to(const Fd& held) {
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno("socket");
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}", held.get());
  std::ranges::copy(path, std::begin(address.sun_path));
  const RaisedOverride raised;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("connecting to a client");
  }
  return socket;
}

}  // namespace

Result<Fd> connect_to_client(std::string_view path, uid_t owner, std::string_view ours) {
  const std::size_t slash = path.rfind('/');
  if (slash == path.npos || slash + 1 == path.size()) {
    return fail(EINVAL, "path of a client's socket");
  }
  const std::string folder(path.substr(0, slash));
  if (folder != ours && std::ranges::find(kUsual, folder) == kUsual.end()) {
    return fail(EACCES, "folder of a client's socket");
  }
  const Fd opened(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!opened) {
    return fail_errno("folder of a client's socket");
  }
  const auto held = hold(opened, std::string(path.substr(slash + 1)), owner);
  if (!held) {
    return std::unexpected(held.error());
  }
  return connect_to(*held);
}

}  // namespace flowfs::fs
