// SPDX-License-Identifier: BSD-3-Clause
// A folder of sockets beside the mount: everybody may look for a socket in it, and only the daemon
// makes any.
//
// Threads: any. Errors: those of the calls that are made; EPERM something that is not the daemon's
// lies there; ENAMETOOLONG no address can hold the path of a socket in it.
#pragma once

#include <memory>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace flowfs::fs {

// Made, and taken away with its sockets. What a dead daemon left there is taken over; what is no
// socket is left alone, and then the folder stays.
class VdeFolder {
 public:
  static Result<std::unique_ptr<VdeFolder>> make(const std::string& path);
  ~VdeFolder();
  VdeFolder(const VdeFolder&) = delete;
  VdeFolder& operator=(const VdeFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  // Gives a socket the file `name`, to which everybody may write. Its path.
  Result<std::string> bind(const Fd& socket, const std::string& name) const;

 private:
  explicit VdeFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace flowfs::fs
