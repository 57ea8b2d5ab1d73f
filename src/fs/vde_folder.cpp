// SPDX-License-Identifier: BSD-3-Clause
#include "fs/vde_folder.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

namespace flowfs::fs {
namespace {

namespace files = std::filesystem;

constexpr mode_t kFolderMode = 0755;
constexpr mode_t kSocketMode = 0666;

// The sockets of a folder, and its folders.
void clear(const std::string& folder) {
  std::error_code error;
  std::vector<files::path> folders;
  for (const auto& entry : files::directory_iterator(folder, error)) {
    const files::file_type type = entry.symlink_status(error).type();
    if (type == files::file_type::socket) {
      ::unlink(entry.path().c_str());
    } else if (type == files::file_type::directory) {
      folders.push_back(entry.path());
    }
  }
  for (const files::path& inner : folders) {
    clear(inner.string());
    ::rmdir(inner.c_str());
  }
}

}  // namespace

Result<std::unique_ptr<VdeFolder>> VdeFolder::make(const std::string& path) {
  if (::mkdir(path.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return fail_errno("folder of VDE sockets");
  }
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    return fail_errno("folder of VDE sockets");
  }
  if (!S_ISDIR(found.st_mode) || found.st_uid != ::geteuid()) {
    return fail(EPERM, "folder of VDE sockets");
  }
  std::unique_ptr<VdeFolder> made(new VdeFolder(path));
  clear(path);
  if (::chmod(path.c_str(), kFolderMode) != 0) {  // whatever the umask
    return fail_errno("folder of VDE sockets");
  }
  return made;
}

VdeFolder::~VdeFolder() {
  clear(path_);
  ::rmdir(path_.c_str());
}

Result<std::string> VdeFolder::bind(const Fd& socket, const std::string& name) const {
  std::string path = fmt::format("{}/{}", path_, name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ENAMETOOLONG, "path of a VDE socket");
  }
  std::ranges::copy(path, std::begin(address.sun_path));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("VDE socket");
  }
  if (::chmod(path.c_str(), kSocketMode) != 0) {
    const auto failure = fail_errno("VDE socket");
    ::unlink(path.c_str());
    return failure;
  }
  return path;
}

}  // namespace flowfs::fs
