// SPDX-License-Identifier: BSD-3-Clause
// A folder whose files may be believed: nobody but root and the user of this process can have put
// anything into it.
//
// The only part of the layer that does I/O, so only workers use it.
// Errors: those of the calls; EKEYREJECTED: it belongs to another user, others may write to it or
// read what is secret, it is no file, it is too long, it is a link to nothing. The context is the
// reason in words.
// Owns: the descriptor, so that what is read together is of one folder though its name changes.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "auth/bytes.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"

struct stat;

namespace flowfs::auth {

// What changes whenever a file does, its content, its mode or its owner.
struct Stamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t changed_ns = 0;
  std::int64_t bytes = 0;
  auto operator<=>(const Stamp&) const = default;

  static Stamp of(const struct stat& status);
};

class GuardedFolder {
 public:
  enum class Guard : std::uint8_t { open, secret };

  // ENOENT: there is none.
  static Result<GuardedFolder> open(const std::string& path);
  [[nodiscard]] Result<GuardedFolder> open_folder(const std::string& name) const;

  // All of a file. A Secret as it may be a key.
  [[nodiscard]] Result<Secret> read(const std::string& name, Guard guard, std::size_t limit) const;
  // What is in it, in order, without what begins with a dot. EKEYREJECTED: more than `most`.
  [[nodiscard]] Result<std::vector<std::string>> list(std::size_t most) const;

  // Of the folder itself, and of a file in it: zeros where there is none.
  [[nodiscard]] Stamp stamp() const;
  [[nodiscard]] Stamp stamp(const std::string& name) const;

 private:
  explicit GuardedFolder(Fd fd) : fd_(std::move(fd)) {}
  static Result<GuardedFolder> open_at(int parent, const std::string& name);

  Fd fd_;
};

inline std::string_view text_of(const Secret& secret) {
  return {reinterpret_cast<const char*>(secret.bytes().data()), secret.bytes().size()};
}

}  // namespace flowfs::auth
