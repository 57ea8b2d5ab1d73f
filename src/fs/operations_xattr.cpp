// SPDX-License-Identifier: BSD-3-Clause
#include <cstring>

#include "fs/operations.hpp"

namespace flowfs::fs {
namespace {

// An extended attribute's value, or its size where the caller asks for that.
void reply_xattr(Replies& replies, Request request, std::span<const std::byte> value,
                 std::size_t room) {
  if (room == 0) {
    fuse_reply_xattr(request.raw, value.size());
  } else if (room < value.size()) {
    replies.error(request, ERANGE);
  } else {
    fuse_reply_buf(request.raw, reinterpret_cast<const char*>(value.data()), value.size());
  }
}

}  // namespace

void Tree::Operations::setxattr(fuse_req_t raw, fuse_ino_t ino, const char* name, const char* value,
                                std::size_t size, int /*flags*/) {
  Tree& self = tree(raw);
  const Request request{raw, Op::setxattr};
  const auto node = begin(self, request, ino);
  if (!node) {
    return;
  }
  const bool access = std::strcmp(name, kAccessAclName) == 0;
  self.replies_.status(request, access ? self.set_acl(*node, bytes_of(value, size), request.uid())
                                       : fail(EOPNOTSUPP, "extended attribute"));
}

void Tree::Operations::getxattr(fuse_req_t raw, fuse_ino_t ino, const char* name,
                                std::size_t size) {
  Tree& self = tree(raw);
  const Request request{raw, Op::getxattr};
  const auto node = begin(self, request, ino);
  if (!node) {
    return;
  }
  const Acl acl = self.meta(*node).acl;
  const bool access = std::strcmp(name, kAccessAclName) == 0;
  if (!access || acl.empty()) {
    fuse_reply_err(raw, ENODATA);  // the usual answer, not a refusal
    return;
  }
  reply_xattr(self.replies_, request, format_acl(acl), size);
}

void Tree::Operations::listxattr(fuse_req_t raw, fuse_ino_t ino, std::size_t size) {
  Tree& self = tree(raw);
  const Request request{raw, Op::listxattr};
  const auto node = begin(self, request, ino);
  if (!node) {
    return;
  }
  const bool has_acl = !self.meta(*node).acl.empty();
  reply_xattr(self.replies_, request,
              bytes_of(kAccessAclName, has_acl ? std::strlen(kAccessAclName) + 1 : 0), size);
}

void Tree::Operations::removexattr(fuse_req_t raw, fuse_ino_t ino, const char* name) {
  Tree& self = tree(raw);
  const Request request{raw, Op::removexattr};
  const auto node = begin(self, request, ino);
  if (!node) {
    return;
  }
  Meta data = self.meta(*node);
  if (std::strcmp(name, kAccessAclName) != 0 || data.acl.empty()) {
    fuse_reply_err(raw, ENODATA);
    return;
  }
  data.acl.clear();
  data.changed = wall_clock_now();
  self.replies_.status(request, self.keep(*node, std::move(data), request.uid()));
}

}  // namespace flowfs::fs
