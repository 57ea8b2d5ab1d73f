// SPDX-License-Identifier: BSD-3-Clause
#include "fs/operations.hpp"

#include <cstring>
#include <limits>

namespace flowfs::fs {
namespace {

constexpr std::size_t kLongestName = 255;

}  // namespace

std::optional<Node> Tree::Operations::begin(Tree& tree, Request request, fuse_ino_t ino) {
  tree.counters_.asked(request.op);
  const auto node = tree.resolve(ino);
  if (!node) {
    tree.replies_.error(request, ENOENT);
  }
  return node;
}

void Tree::Operations::reply_made(Tree& tree, Request request, const Result<Node>& made) {
  if (made) {
    tree.reply_entry(request, *made);
  } else {
    tree.replies_.error(request, made.error().error);
  }
}

void Tree::Operations::init(void* user_data, fuse_conn_info* connection) {
  Tree& self = *static_cast<Tree*>(user_data);
  fuse_unset_feature_flag(connection, FUSE_CAP_ASYNC_DIO);
  fuse_unset_feature_flag(connection, FUSE_CAP_ATOMIC_O_TRUNC);
  for (const std::uint64_t wanted :
       {std::uint64_t{FUSE_CAP_POSIX_ACL}, std::uint64_t{FUSE_CAP_PARALLEL_DIROPS},
        std::uint64_t{FUSE_CAP_HANDLE_KILLPRIV_V2}, std::uint64_t{FUSE_CAP_CACHE_SYMLINKS},
        std::uint64_t{FUSE_CAP_NO_EXPORT_SUPPORT}}) {
    if ((connection->capable_ext & wanted) != 0) {
      fuse_set_feature_flag(connection, wanted);
    }
  }
  self.passthrough_ =
      self.passthrough_wanted_ && (connection->capable_ext & FUSE_CAP_PASSTHROUGH) != 0;
  if (self.passthrough_) {
    fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH);
    connection->max_backing_stack_depth = 1;
    self.set_session(self.session_);  // it may register backings from now on
  } else {
    self.open_memory_socket();
  }
  connection->max_write = static_cast<unsigned>(self.request_bytes_);
  self.answering_init_ = true;
  // Of RELEASEs the kernel sends only so many at a time and keeps the others back while it sends
  // what came after them: `rmdir` would find a name in use whose last user has been waited for.
  connection->max_background = std::numeric_limits<std::uint16_t>::max();
}

void Tree::Operations::lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  Tree& self = tree(raw);
  const Request request{raw, Op::lookup};
  const auto directory = begin(self, request, parent);
  if (!directory) {
    return;
  }
  if (std::strlen(name) > kLongestName) {
    self.replies_.error(request, ENAMETOOLONG);
    return;
  }
  self.folder(*directory).prepare(*directory, name, request.uid());
  const auto node = self.folder(*directory).child(*directory, name);
  if (!node) {
    fuse_reply_err(raw, ENOENT);  // not a refusal: every mkdir asks first
    return;
  }
  self.reply_entry(request, *node);
}

void Tree::Operations::forget(fuse_req_t raw, fuse_ino_t ino, std::uint64_t lookups) {
  tree(raw).instances_.forget(ino, lookups);
  fuse_reply_none(raw);
}

void Tree::Operations::forget_multi(fuse_req_t raw, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) {
    tree(raw).instances_.forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(raw);
}

void Tree::Operations::getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* /*info*/) {
  Tree& self = tree(raw);
  const Request request{raw, Op::getattr};
  if (const auto node = begin(self, request, ino)) {
    self.reply_attr(request, *node);
  }
}

void Tree::Operations::setattr(fuse_req_t raw, fuse_ino_t ino, struct stat* wanted, int which,
                               fuse_file_info* /*info*/) {
  Tree& self = tree(raw);
  const Request request{raw, Op::setattr};
  const auto node = begin(self, request, ino);
  if (!node) {
    return;
  }
  if (const Status status = self.change(*node, *wanted, which, request.uid()); !status) {
    self.replies_.status(request, status);
    return;
  }
  self.reply_attr(request, *node);
}

fuse_lowlevel_ops Tree::operations() {
  fuse_lowlevel_ops table{};
  table.init = Operations::init;
  table.lookup = Operations::lookup;
  table.forget = Operations::forget;
  table.forget_multi = Operations::forget_multi;
  table.getattr = Operations::getattr;
  table.setattr = Operations::setattr;
  table.readlink = Operations::readlink;
  table.mknod = Operations::mknod;
  table.mkdir = Operations::mkdir;
  table.unlink = Operations::unlink;
  table.rmdir = Operations::rmdir;
  table.symlink = Operations::symlink;
  table.rename = Operations::rename;
  table.link = Operations::link;
  table.open = Operations::open;
  table.read = Operations::read;
  table.write = Operations::write;
  table.flush = Operations::flush;
  table.release = Operations::release;
  table.flock = Operations::flock;
  table.setlk = Operations::setlk;
  table.getlk = Operations::getlk;
  table.opendir = Operations::opendir;
  table.readdir = Operations::readdir;
  table.readdirplus = Operations::readdirplus;
  table.releasedir = Operations::releasedir;
  table.setxattr = Operations::setxattr;
  table.getxattr = Operations::getxattr;
  table.listxattr = Operations::listxattr;
  table.removexattr = Operations::removexattr;
  table.create = Operations::create;
  table.ioctl = Operations::ioctl;
  table.poll = Operations::poll;
  return table;
}

}  // namespace flowfs::fs
