// SPDX-License-Identifier: BSD-3-Clause
#include "fs/operations.hpp"

namespace flowfs::fs {
namespace {

// Of renameat2(2); <linux/fs.h> clashes with the C library's headers.
constexpr unsigned kRenameNoReplace = 1;
constexpr unsigned kRenameExchange = 2;

}  // namespace

void Tree::Operations::readlink(fuse_req_t raw, fuse_ino_t ino) {
  Tree& self = tree(raw);
  const Request request{raw, Op::readlink};
  if (const auto node = begin(self, request, ino)) {
    fuse_reply_readlink(raw, self.folder(*node).target(*node).c_str());
  }
}

void Tree::Operations::mknod(fuse_req_t raw, fuse_ino_t /*parent*/, const char* /*name*/,
                             mode_t /*mode*/, dev_t /*device*/) {
  refuse(raw, Op::mknod, EPERM);
}

void Tree::Operations::link(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_ino_t /*parent*/,
                            const char* /*name*/) {
  refuse(raw, Op::link, EPERM);
}

void Tree::Operations::create(fuse_req_t raw, fuse_ino_t /*parent*/, const char* /*name*/,
                              mode_t /*mode*/, fuse_file_info* /*info*/) {
  refuse(raw, Op::create, EACCES);
}

void Tree::Operations::refuse(fuse_req_t raw, Op op, int error) {
  Tree& self = tree(raw);
  self.counters_.asked(op);
  self.replies_.error({raw, op}, error);
}

void Tree::Operations::mkdir(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode) {
  Tree& self = tree(raw);
  const Request request{raw, Op::mkdir};
  if (const auto directory = begin(self, request, parent)) {
    reply_made(self, request,
               self.folder(*directory).make_directory(*directory, name, mode, request.opener()));
  }
}

void Tree::Operations::symlink(fuse_req_t raw, const char* target, fuse_ino_t parent,
                               const char* name) {
  Tree& self = tree(raw);
  const Request request{raw, Op::symlink};
  if (const auto directory = begin(self, request, parent)) {
    reply_made(self, request,
               self.folder(*directory).make_link(*directory, name, target, request.opener()));
  }
}

void Tree::Operations::rmdir(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  Tree& self = tree(raw);
  const Request request{raw, Op::rmdir};
  if (const auto directory = begin(self, request, parent)) {
    self.replies_.status(request,
                         self.folder(*directory).remove_directory(*directory, name, request.uid()));
  }
}

void Tree::Operations::unlink(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  Tree& self = tree(raw);
  const Request request{raw, Op::unlink};
  if (const auto directory = begin(self, request, parent)) {
    self.replies_.status(request,
                         self.folder(*directory).remove_link(*directory, name, request.uid()));
  }
}

void Tree::Operations::rename(fuse_req_t raw, fuse_ino_t parent, const char* name,
                              fuse_ino_t new_parent, const char* new_name, unsigned flags) {
  Tree& self = tree(raw);
  const Request request{raw, Op::rename};
  const auto directory = begin(self, request, parent);
  if (!directory) {
    return;
  }
  const bool plain = flags == 0;
  if (parent != new_parent) {
    self.replies_.error(request, EPERM);  // never EXDEV: tools would begin to copy
  } else if (!plain && flags != kRenameNoReplace && flags != kRenameExchange) {
    self.replies_.error(request, EINVAL);
  } else {
    const auto mode = plain                      ? Folder::RenameMode::plain
                      : flags == kRenameExchange ? Folder::RenameMode::exchange
                                                 : Folder::RenameMode::no_replace;
    self.replies_.status(
        request, self.folder(*directory).rename(*directory, name, new_name, mode, request.uid()));
  }
}

}  // namespace flowfs::fs
