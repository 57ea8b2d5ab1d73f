// SPDX-License-Identifier: BSD-3-Clause
// The functions libfuse calls, one an operation. Each answers its request exactly once, at once or
// by leaving it with a Waits. Private to the operations*.cpp, one for each sort of them.
//
// Threads: the loop's.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "fs/tree.hpp"

namespace flowfs::fs {

inline std::span<const std::byte> bytes_of(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

struct Tree::Operations {
  static Tree& tree(fuse_req_t raw) { return *static_cast<Tree*>(fuse_req_userdata(raw)); }
  // Counts a request and finds its node; answers itself where there is none any more. ENOENT, as a
  // look-up a moment later would: objects are never made again under an old node. After ESTALE the
  // kernel would look once more, and tell the caller ESTALE if it loses that race too.
  static std::optional<Node> begin(Tree& tree, Request request, fuse_ino_t ino);
  static void reply_made(Tree& tree, Request request, const Result<Node>& made);
  static void init(void* user_data, fuse_conn_info* connection);
  static void lookup(fuse_req_t raw, fuse_ino_t parent, const char* name);
  static void forget(fuse_req_t raw, fuse_ino_t ino, std::uint64_t lookups);
  static void forget_multi(fuse_req_t raw, std::size_t count, fuse_forget_data* forgets);
  static void getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info);
  static void setattr(fuse_req_t raw, fuse_ino_t ino, struct stat* wanted, int which,
                      fuse_file_info* info);

  // Objects: what comes and goes.
  static void readlink(fuse_req_t raw, fuse_ino_t ino);
  static void mknod(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
  static void link(fuse_req_t raw, fuse_ino_t ino, fuse_ino_t parent, const char* name);
  static void create(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode,
                     fuse_file_info* info);
  static void refuse(fuse_req_t raw, Op op, int error);
  static void mkdir(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode);
  static void symlink(fuse_req_t raw, const char* target, fuse_ino_t parent, const char* name);
  static void rmdir(fuse_req_t raw, fuse_ino_t parent, const char* name);
  static void unlink(fuse_req_t raw, fuse_ino_t parent, const char* name);
  static void rename(fuse_req_t raw, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                     const char* new_name, unsigned flags);

  // Open files.
  static void open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info);
  static void read(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                   fuse_file_info* info);
  static void write(fuse_req_t raw, fuse_ino_t ino, const char* data, std::size_t size,
                    off_t offset, fuse_file_info* info);
  static void poll(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info, fuse_pollhandle* handle);
  static void ioctl(fuse_req_t raw, fuse_ino_t ino, unsigned command, void* argument,
                    fuse_file_info* info, unsigned flags, const void* in, std::size_t in_size,
                    std::size_t out_size);
  static void flush(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info);
  static void release(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info);
  static void flock(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info, int operation);
  static void setlk(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info, struct flock* wanted,
                    int may_wait);
  static void getlk(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info, struct flock* wanted);

  // Listings.
  static void opendir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info);
  static void releasedir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info);
  static void readdir(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                      fuse_file_info* info);
  static void readdirplus(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                          fuse_file_info* info);
  // The offset handed out with an entry is where its successor is looked for: 1 behind `.`, 2
  // behind `..`, from there on the folder's own cookies. Nothing is kept between two calls.
  static void list(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset, bool plus);
  static std::optional<Entry> entry_at(Tree& self, Node directory, std::uint64_t at);
  // `.`, `..` and message files get no look-up here (a node id of 0): a message file's would be a
  // node for each listing.
  static std::size_t add_entry(Tree& self, fuse_req_t raw, const Entry& entry, bool plus,
                               std::string& buffer, std::size_t used);
  static std::size_t add(fuse_req_t raw, const std::string& name, const fuse_entry_param& entry,
                         off_t next, bool plus, std::string& buffer, std::size_t used);

  // Access control lists.
  static void setxattr(fuse_req_t raw, fuse_ino_t ino, const char* name, const char* value,
                       std::size_t size, int flags);
  static void getxattr(fuse_req_t raw, fuse_ino_t ino, const char* name, std::size_t size);
  static void listxattr(fuse_req_t raw, fuse_ino_t ino, std::size_t size);
  static void removexattr(fuse_req_t raw, fuse_ino_t ino, const char* name);
};

}  // namespace flowfs::fs
