// SPDX-License-Identifier: BSD-3-Clause
#include "cli/cert_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.hpp"

namespace flowfs::cli {
namespace {

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd, text.data(), text.size());
    if (done < 0 && errno != EINTR) {
      return fail_errno("write");
    }
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(done, 0)));
  }
  return ::fsync(fd) == 0 ? Status{} : fail_errno("fsync");
}

}  // namespace

Status make_folders(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail_errno("mkdir");
    }
    if (end == std::string::npos) {
      return {};
    }
  }
}

Status write_file(const std::string& path, std::string_view text) {
  // With a dot in front, so that the daemon passes over what is there by half.
  const std::size_t slash = path.rfind('/') + 1;
  const std::string beside = path.substr(0, slash) + '.' + path.substr(slash) + ".new";
  const Fd file(
      ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file || ::fchmod(file.get(), 0600) != 0) {
    return fail_errno("open");
  }
  Status done = write_all(file.get(), text);
  if (done && ::rename(beside.c_str(), path.c_str()) != 0) {
    done = fail_errno("rename");
  }
  if (!done) {
    ::unlink(beside.c_str());
  }
  return done;
}

}  // namespace flowfs::cli
