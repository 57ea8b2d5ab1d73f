// SPDX-License-Identifier: BSD-3-Clause
#include "fs/operations.hpp"

namespace flowfs::fs {
namespace {

constexpr std::uint64_t kDots = 2;

}  // namespace

void Tree::Operations::opendir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info) {
  Tree& self = tree(raw);
  const Request request{raw, Op::opendir};
  const auto node = begin(self, request, ino);
  if (!node) {
    return;
  }
  auto file =
      self.files_.add(std::make_unique<File>(self.replies_, *node, info->flags), request.uid());
  if (!file) {
    self.replies_.error(request, file.error().error);
    return;
  }
  info->fh = FileTable::handle(*file);
  if (fuse_reply_open(raw, info) != 0) {
    self.files_.remove(*file);
  }
}

void Tree::Operations::releasedir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info) {
  release(raw, ino, info);
}

void Tree::Operations::readdir(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                               fuse_file_info* /*info*/) {
  list(raw, ino, size, offset, false);
}

void Tree::Operations::readdirplus(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                                   fuse_file_info* /*info*/) {
  list(raw, ino, size, offset, true);
}

void Tree::Operations::list(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                            bool plus) {
  Tree& self = tree(raw);
  const Request request{raw, Op::readdir};
  const auto directory = begin(self, request, ino);
  if (!directory) {
    return;
  }
  std::string buffer(size, '\0');
  std::size_t used = 0;
  for (auto at = static_cast<std::uint64_t>(offset);;) {
    const auto entry = entry_at(self, *directory, at);
    if (!entry) {
      break;
    }
    const std::size_t step = add_entry(self, raw, *entry, plus, buffer, used);
    if (step > size - used) {
      break;
    }
    used += step;
    at = entry->next;
  }
  fuse_reply_buf(raw, buffer.data(), used);
}

std::optional<Entry> Tree::Operations::entry_at(Tree& self, Node directory, std::uint64_t at) {
  if (at < kDots) {
    return Entry{{at == 0 ? "." : "..", directory}, at + 1};
  }
  auto entry = self.folder(directory).child_from(directory, at - kDots);
  if (entry) {
    entry->next += kDots;
  }
  return entry;
}

std::size_t Tree::Operations::add_entry(Tree& self, fuse_req_t raw, const Entry& entry, bool plus,
                                        std::string& buffer, std::size_t used) {
  fuse_entry_param parameters{};
  const Node node = entry.child.node;
  parameters.attr = self.stat_of(node);
  const FileType type = self.folder(node).type(node);
  const bool dots = entry.next <= kDots;
  if (plus && !dots && type != FileType::message && type != FileType::mapped) {
    parameters.ino = node.id();
    parameters.attr_timeout = self.attribute_timeout(node);
    parameters.entry_timeout = self.entry_timeout(node);
    self.ends_.mark_looked_up(node);
  }
  return add(raw, entry.child.name, parameters, static_cast<off_t>(entry.next), plus, buffer, used);
}

std::size_t Tree::Operations::add(fuse_req_t raw, const std::string& name,
                                  const fuse_entry_param& entry, off_t next, bool plus,
                                  std::string& buffer, std::size_t used) {
  char* at = buffer.data() + used;
  const std::size_t room = buffer.size() - used;
  return plus ? fuse_add_direntry_plus(raw, at, room, name.c_str(), &entry, next)
              : fuse_add_direntry(raw, at, room, name.c_str(), &entry.attr, next);
}

}  // namespace flowfs::fs
