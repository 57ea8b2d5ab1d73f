// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/mount_point.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/log.hpp"
#include "daemon/mount_table.hpp"

namespace flowfs::daemon {
namespace {

constexpr std::size_t kMostMountinfo = std::size_t{64} << 20;
constexpr int kMostLinks = 40;  // as the kernel follows

std::unexpected<std::string> refuse(std::string why) { return std::unexpected(std::move(why)); }

std::unexpected<std::string> refuse_errno(std::string_view path, std::string_view step) {
  return refuse(fmt::format("{}: {}: {}", path, step, std::strerror(errno)));
}

std::expected<std::vector<MountEntry>, std::string> find_mounts(const std::string& path) {
  const Result<std::string> text = read_file("/proc/self/mountinfo", kMostMountinfo);
  if (!text) {
    return refuse("/proc/self/mountinfo: " + text.error().message());
  }
  return mounts_at(*text, path);
}

// The parent resolved, the last component as it is: resolving that would look up a mount.
std::expected<std::string, std::string> resolve_parent(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  const std::size_t slash = path.rfind('/');
  const std::string last = path.substr(slash + 1);
  if (!path.starts_with('/') || last.empty() || last == "." || last == "..") {
    return refuse(fmt::format("{}: not the absolute path of a directory to mount on", path));
  }
  const std::string parent = slash == 0 ? "/" : path.substr(0, slash);
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(parent.c_str(), nullptr),
                                                         &std::free);
  if (!real) {
    return refuse_errno(parent, "the directory that holds the mount");
  }
  const std::string_view prefix = real.get();
  return prefix == "/" ? "/" + last : fmt::format("{}/{}", prefix, last);
}

// As resolve_parent, and follows symbolic links at the last component for as long as nothing is
// mounted there.
std::expected<std::string, std::string> resolve(const std::string& directory) {
  std::string path = directory;
  for (int links = 0; links < kMostLinks; ++links) {
    auto resolved = resolve_parent(path);
    if (!resolved) {
      return resolved;
    }
    path = std::move(*resolved);
    const auto mounts = find_mounts(path);
    if (!mounts) {
      return refuse(mounts.error());
    }
    std::array<char, PATH_MAX> target{};
    const ssize_t length =
        mounts->empty() ? ::readlink(path.c_str(), target.data(), target.size()) : -1;
    if (length < 0) {
      return path;
    }
    const std::string_view text(target.data(), static_cast<std::size_t>(length));
    path = text.starts_with('/') ? std::string(text)
                                 : fmt::format("{}/{}", path.substr(0, path.rfind('/')), text);
  }
  return refuse(fmt::format("{}: too many symbolic links", directory));
}

// What a daemon says of itself in its lock file: its pid, and whether it made the directory.
struct LockText {
  pid_t pid = 0;
  bool made_directory = false;
};

constexpr std::string_view kMade = "made the directory\n";

LockText read_lock(const Fd& lock) {
  std::array<char, 64> buffer{};
  const ssize_t length = ::pread(lock.get(), buffer.data(), buffer.size(), 0);
  const std::string_view text(buffer.data(),
                              static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  LockText said;
  std::from_chars(text.data(), text.data() + text.size(), said.pid);
  said.made_directory = text.ends_with(kMade);
  return said;
}

// One attempt at the lock; an empty Fd where the file was removed under us by the daemon that held
// it, and the caller shall try again.
std::expected<Fd, std::string> try_lock(const std::string& file) {
  // 0600: who can open it can hold the lock against us.
  Fd lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat opened{};
  if (!lock || ::fstat(lock.get(), &opened) != 0) {
    return refuse_errno(file, "cannot open the lock file");
  }
  if (!S_ISREG(opened.st_mode) || opened.st_uid != ::geteuid()) {
    return refuse(fmt::format("{}: belongs to uid {}, not to this daemon", file, opened.st_uid));
  }
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK
               ? refuse(fmt::format("{}: another flowfsd (pid {}) serves this mount point", file,
                                    read_lock(lock).pid))
               : refuse_errno(file, "cannot lock");
  }
  struct stat named{};
  if (::lstat(file.c_str(), &named) != 0 || named.st_ino != opened.st_ino ||
      named.st_dev != opened.st_dev) {
    return Fd();
  }
  return lock;
}

std::expected<Fd, std::string> take_lock(const std::string& path) {
  const std::string file = path + ".lock";
  for (;;) {
    auto lock = try_lock(file);
    if (!lock || *lock) {
      return lock;
    }
  }
}

// An ordinary user may not umount2; the setuid helper of FUSE may, for the user's own mounts.
bool detach_with_helper(const std::string& path) {
  std::string target = path;
  std::string name = "fusermount3";
  std::string unmount = "-u";
  std::string quiet = "-q";
  std::string lazy = "-z";
  std::string end = "--";
  std::array<char*, 7> arguments{name.data(), unmount.data(), quiet.data(), lazy.data(),
                                 end.data(),  target.data(),  nullptr};
  pid_t child = 0;
  if (::posix_spawnp(&child, name.c_str(), nullptr, nullptr, arguments.data(), environ) != 0) {
    return false;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return false;
    }
  }
  return status == 0;
}

bool detach(const std::string& path) {
  return ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ||
         (errno == EPERM && ::geteuid() != 0 && detach_with_helper(path));
}

}  // namespace

MountPoint::MountPoint(std::string path, Fd lock)
    : path_(std::move(path)), lock_(std::move(lock)) {}

std::expected<MountPoint, std::string> MountPoint::claim(const std::string& directory) {
  auto path = resolve(directory);
  if (!path) {
    return refuse(path.error());
  }
  auto lock = take_lock(*path);
  if (!lock) {
    return refuse(lock.error());
  }
  MountPoint point(std::move(*path), std::move(*lock));
  // A daemon that was killed left the directory it had made to whoever comes next.
  point.made_directory_ = read_lock(point.lock_).made_directory;
  if (!point.sign_lock()) {
    return refuse_errno(point.path_ + ".lock", "cannot write the pid");
  }
  if (auto free = point.free_of_mounts(); !free) {
    return refuse(free.error());
  }
  point.remove_stale_socket();
  if (auto made = point.make_directory(); !made) {
    return refuse(made.error());
  }
  if (!point.sign_lock()) {
    return refuse_errno(point.path_ + ".lock", "cannot write the pid");
  }
  return point;
}

bool MountPoint::sign_lock() const {
  const std::string text = fmt::format("{}\n{}", ::getpid(), made_directory_ ? kMade : "");
  return ::ftruncate(lock_.get(), 0) == 0 &&
         ::pwrite(lock_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

// With the lock in our hands, a flowfs mount there belongs to a daemon that is dead.
std::expected<void, std::string> MountPoint::free_of_mounts() {
  for (;;) {
    const auto mounts = find_mounts(path_);
    if (!mounts) {
      return refuse(mounts.error());
    }
    if (mounts->empty()) {
      return {};
    }
    if (!is_flowfs(mounts->back())) {
      return refuse(fmt::format("{}: {} ({}) is mounted there already", path_,
                                mounts->back().source, mounts->back().type));
    }
    if (!detach(path_)) {
      return refuse(fmt::format("{}: cannot detach the mount of a dead flowfsd", path_));
    }
    ++stale_mounts_;
  }
}

// Anything else that lies there is somebody's, and is left alone.
void MountPoint::remove_stale_socket() const {
  const std::string path = socket_path();
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode) &&
      ::unlink(path.c_str()) != 0) {
    log::warning("cannot remove the socket of a dead daemon path={} error=\"{}\"", path,
                 std::strerror(errno));
  }
}

std::expected<void, std::string> MountPoint::make_directory() {
  if (::mkdir(path_.c_str(), 0755) == 0) {
    made_directory_ = true;
    return {};
  }
  if (errno != EEXIST) {
    return refuse_errno(path_, "cannot make the directory");
  }
  struct stat found{};
  if (::lstat(path_.c_str(), &found) != 0) {
    return refuse_errno(path_, "cannot look at the mount point");
  }
  if (!S_ISDIR(found.st_mode)) {
    made_directory_ = false;
    return refuse(fmt::format("{}: not a directory", path_));
  }
  return {};
}

MountPoint::~MountPoint() {
  if (!lock_) {
    return;  // moved from
  }
  // A server that shut down has unmounted already; this is for one that could not.
  for (auto mounts = find_mounts(path_);
       mounts && !mounts->empty() && is_flowfs(mounts->back()) && detach(path_);
       mounts = find_mounts(path_)) {
  }
  if (made_directory_ && ::rmdir(path_.c_str()) != 0) {
    log::warning("cannot remove the mount point path={} error=\"{}\"", path_, std::strerror(errno));
  }
  const std::string file = path_ + ".lock";
  // While it is still locked: a daemon that waits for it then sees that its file has gone.
  if (::unlink(file.c_str()) != 0) {
    log::warning("cannot remove the lock file path={} error=\"{}\"", file, std::strerror(errno));
  }
}

}  // namespace flowfs::daemon
