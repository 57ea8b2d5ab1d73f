// SPDX-License-Identifier: BSD-3-Clause
// Every open file description of the tree. The kernel hands their addresses back as `fh`.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "fs/file.hpp"
#include "registry/users.hpp"

namespace flowfs::fs {

class FileTable {
 public:
  explicit FileTable(registry::Users& users) : users_(users) {}

  // Takes `file` for `uid`, which is charged a descriptor. EDQUOT, ENFILE.
  Result<File*> add(std::unique_ptr<File> file, uid_t uid) {
    auto charge = reserve(uid);
    if (!charge) {
      return std::unexpected(charge.error());
    }
    return add(std::move(file), std::move(*charge));
  }
  // In two steps, where there must be a place before there is a file. EDQUOT, ENFILE.
  Result<registry::Charge> reserve(uid_t uid) {
    return users_.charge(uid, registry::Resource::descriptors, 1);
  }
  File* add(std::unique_ptr<File> file, registry::Charge charge) {
    File* kept = file.get();
    kept->keep(std::move(charge));
    files_.emplace(kept, std::move(file));
    return kept;
  }
  void remove(File* file) { files_.erase(file); }
  void clear() { files_.clear(); }
  [[nodiscard]] std::size_t size() const { return files_.size(); }

  static std::uint64_t handle(File* file) { return std::bit_cast<std::uintptr_t>(file); }
  // What the kernel was given at open; it gives back nothing else.
  static File* from_handle(std::uint64_t handle) {
    return std::bit_cast<File*>(std::uintptr_t{handle});
  }

 private:
  registry::Users& users_;
  std::unordered_map<File*, std::unique_ptr<File>> files_;
};

// How the answer to an OPEN says what kind of file it is.
enum class OpenMode {
  attribute,  // direct, whole values
  stream,     // direct, no position
  message,    // the same, and writes run in parallel with reads
};

// Answers an open with `file`, which is then the kernel's until RELEASE. False if the caller has
// gone in the meantime and no RELEASE will come.
[[nodiscard]] bool reply_open(Request request, File* file, OpenMode mode);
// The same for a file whose memory is registered under `backing`. `flushed`: whether its FLUSH
// matters; else the kernel is spared one with every close.
[[nodiscard]] bool reply_open_mapped(Request request, File* file, int backing, bool flushed);

}  // namespace flowfs::fs
