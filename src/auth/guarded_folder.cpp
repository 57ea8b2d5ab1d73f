// SPDX-License-Identifier: BSD-3-Clause
#include "auth/guarded_folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace flowfs::auth {
namespace {

constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;
constexpr mode_t kOthersRead = S_IRWXG | S_IRWXO;

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// Where an access list gives more than the mode shows, the mask in the group's bits shows it.
Status check_guard(const struct stat& status, GuardedFolder::Guard guard) {
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return fail(EKEYREJECTED, "it belongs to another user");
  }
  if (guard == GuardedFolder::Guard::secret && (status.st_mode & kOthersRead) != 0) {
    return fail(EKEYREJECTED, "others may read or write it: chmod 0600");
  }
  if ((status.st_mode & kOthersWrite) != 0) {
    return fail(EKEYREJECTED, "others may write to it: chmod go-w");
  }
  return {};
}

// Why something cannot be opened. A link to what is not there is not the same as nothing: what it
// leads to is missing, and was wanted.
std::unexpected<Failure> cannot_open(int parent, const std::string& name) {
  const int error = errno;
  struct stat status = {};
  if (error == ENOENT && ::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISLNK(status.st_mode)) {
    return fail(EKEYREJECTED, "it is a link to what is not there");
  }
  return fail(error, "it cannot be opened");
}

Result<Secret> read_all(int fd, std::size_t bytes) {
  Secret content(bytes);
  std::size_t done = 0;
  while (done < bytes) {
    const auto rest = content.writable().subspan(done);
    const ssize_t got = ::read(fd, rest.data(), rest.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return fail_errno("it cannot be read");
    }
    if (got == 0) {
      return fail(EAGAIN, "it changed while it was read");
    }
    done += static_cast<std::size_t>(got);
  }
  return content;
}

}  // namespace

Stamp Stamp::of(const struct stat& status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .changed_ns = status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec,
          .bytes = status.st_size};
}

Result<GuardedFolder> GuardedFolder::open_at(int parent, const std::string& name) {
  Fd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat status = {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return cannot_open(parent, name);
  }
  if (const Status guarded = check_guard(status, Guard::open); !guarded) {
    return std::unexpected(guarded.error());
  }
  return GuardedFolder(std::move(fd));
}

Result<GuardedFolder> GuardedFolder::open(const std::string& path) {
  return open_at(AT_FDCWD, path);
}

Result<GuardedFolder> GuardedFolder::open_folder(const std::string& name) const {
  return open_at(fd_.get(), name);
}

Result<Secret> GuardedFolder::read(const std::string& name, Guard guard, std::size_t limit) const {
  // Not to wait for the other end of a FIFO, nor to become a terminal's.
  const Fd fd(::openat(fd_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status = {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return cannot_open(fd_.get(), name);
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(EKEYREJECTED, "it is not a regular file");
  }
  if (const Status guarded = check_guard(status, guard); !guarded) {
    return std::unexpected(guarded.error());
  }
  if (std::cmp_greater(status.st_size, limit)) {
    return fail(EKEYREJECTED, "it is too long");
  }
  return read_all(fd.get(), static_cast<std::size_t>(status.st_size));
}

Result<std::vector<std::string>> GuardedFolder::list(std::size_t most) const {
  // A descriptor of its own, as reading the folder moves its position.
  Fd again(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, CloseFolder> folder(again ? ::fdopendir(again.get()) : nullptr);
  if (folder == nullptr) {
    return fail_errno("it cannot be listed");
  }
  static_cast<void>(again.release());  // the stream's now
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(folder.get())) {
    if (entry->d_name[0] == '.') {
      continue;
    }
    names.emplace_back(entry->d_name);
    if (names.size() > most) {
      return fail(EKEYREJECTED, "there are too many files in it");
    }
  }
  std::ranges::sort(names);
  return names;
}

Stamp GuardedFolder::stamp() const {
  struct stat status = {};
  return ::fstat(fd_.get(), &status) == 0 ? Stamp::of(status) : Stamp{};
}

Stamp GuardedFolder::stamp(const std::string& name) const {
  struct stat status = {};
  return ::fstatat(fd_.get(), name.c_str(), &status, 0) == 0 ? Stamp::of(status) : Stamp{};
}

}  // namespace flowfs::auth
