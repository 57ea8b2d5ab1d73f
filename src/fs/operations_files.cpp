// SPDX-License-Identifier: BSD-3-Clause
#include "fs/operations.hpp"

namespace flowfs::fs {
namespace {

// What open(2) sets for every 64-bit caller, as the kernel sees it (the C library hides it as 0).
#if defined(__aarch64__) || defined(__arm__)
constexpr int kLargeFile = 0400000;
#elif defined(__powerpc__)
constexpr int kLargeFile = 0200000;
#else
constexpr int kLargeFile = 0100000;
#endif

}  // namespace

void Tree::Operations::open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info) {
  Tree& self = tree(raw);
  const Request request{raw, Op::open};
  const auto node = begin(self, request, ino);
  if (!node) {
    return;
  }
  // file_getattr(2) and the file-flag ioctls make the kernel open a file by itself, without
  // having asked whether the caller may. Where opening does something, only an open(2) counts
  // (R8).
  const bool asked_for = (info->flags & kLargeFile) != 0;
  if (!asked_for && self.folder(*node).type(*node) != FileType::attribute) {
    self.replies_.error(request, EOPNOTSUPP);
    return;
  }
  self.open(request, *node, info->flags);
}

void Tree::Operations::read(fuse_req_t raw, fuse_ino_t /*ino*/, std::size_t size, off_t offset,
                            fuse_file_info* info) {
  tree(raw).counters_.asked(Op::read);
  // Only a read(2) of a direct file names its caller's lock owner; the page cache's reads do not.
  FileTable::from_handle(info->fh)->read({raw, Op::read}, size,
                                         {.offset = static_cast<std::uint64_t>(offset),
                                          .flags = info->flags,
                                          .through_cache = info->lock_owner == 0});
}

void Tree::Operations::write(fuse_req_t raw, fuse_ino_t /*ino*/, const char* data, std::size_t size,
                             off_t offset, fuse_file_info* info) {
  tree(raw).counters_.asked(Op::write);
  FileTable::from_handle(info->fh)->write({raw, Op::write}, bytes_of(data, size),
                                          {.offset = static_cast<std::uint64_t>(offset),
                                           .flags = info->flags,
                                           .through_cache = info->writepage != 0});
}

void Tree::Operations::poll(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info,
                            fuse_pollhandle* handle) {
  tree(raw).counters_.asked(Op::poll);
  File* file = FileTable::from_handle(info->fh);
  file->watch(handle);
  fuse_reply_poll(raw, file->ready());
}

void Tree::Operations::ioctl(fuse_req_t raw, fuse_ino_t /*ino*/, unsigned command,
                             void* /*argument*/, fuse_file_info* info, unsigned flags,
                             const void* in, std::size_t in_size, std::size_t out_size) {
  Tree& self = tree(raw);
  self.counters_.asked(Op::ioctl);
  const Request request{raw, Op::ioctl};
  if ((flags & FUSE_IOCTL_DIR) != 0) {
    self.replies_.error(request, ENOTTY);
    return;
  }
  FileTable::from_handle(info->fh)->ioctl(request, command, bytes_of(in, in_size), out_size);
}

void Tree::Operations::flush(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info) {
  Tree& self = tree(raw);
  self.counters_.asked(Op::flush);
  File& file = *FileTable::from_handle(info->fh);
  self.locks_.flushed(file, info->lock_owner);
  file.flush({raw, Op::flush}, info->lock_owner);
}

void Tree::Operations::release(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info) {
  Tree& self = tree(raw);
  self.counters_.asked(Op::release);
  File* file = FileTable::from_handle(info->fh);
  self.locks_.released(*file);
  self.files_.remove(file);
  fuse_reply_err(raw, 0);
}

void Tree::Operations::flock(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info,
                             int operation) {
  Tree& self = tree(raw);
  self.counters_.asked(Op::lock);
  self.locks_.flock({raw, Op::lock}, *FileTable::from_handle(info->fh), info->lock_owner,
                    operation);
}

void Tree::Operations::setlk(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info,
                             struct flock* wanted, int may_wait) {
  Tree& self = tree(raw);
  self.counters_.asked(Op::lock);
  self.locks_.set({raw, Op::lock}, *FileTable::from_handle(info->fh), info->lock_owner, *wanted,
                  may_wait != 0);
}

void Tree::Operations::getlk(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info,
                             struct flock* wanted) {
  Tree& self = tree(raw);
  self.counters_.asked(Op::lock);
  self.locks_.get({raw, Op::lock}, *FileTable::from_handle(info->fh), info->lock_owner, *wanted);
}

}  // namespace flowfs::fs
