// SPDX-License-Identifier: BSD-3-Clause
// The functions libfuse calls, one an operation. Each answers its request exactly once, at once or
// by leaving it with a Waits.
#include <cstring>
#include <limits>
#include <string>

#include "fs/tree.hpp"

namespace flowfs::fs {
namespace {

constexpr std::size_t kLongestName = 255;

// What open(2) sets for every 64-bit caller, as the kernel sees it (the C library hides it as 0).
#if defined(__aarch64__) || defined(__arm__)
constexpr int kLargeFile = 0400000;
#elif defined(__powerpc__)
constexpr int kLargeFile = 0200000;
#else
constexpr int kLargeFile = 0100000;
#endif

// Of renameat2(2); <linux/fs.h> clashes with the C library's headers.
constexpr unsigned kRenameNoReplace = 1;
constexpr unsigned kRenameExchange = 2;

std::span<const std::byte> bytes_of(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

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

struct Tree::Operations {
  static Tree& tree(fuse_req_t raw) { return *static_cast<Tree*>(fuse_req_userdata(raw)); }

  // Counts a request and finds its node; answers itself where there is none any more. ENOENT, as a
  // look-up a moment later would: objects are never made again under an old node. After ESTALE the
  // kernel would look once more, and tell the caller ESTALE if it loses that race too.
  static std::optional<Node> begin(Tree& tree, Request request, fuse_ino_t ino) {
    tree.counters_.asked(request.op);
    const auto node = tree.resolve(ino);
    if (!node) {
      tree.replies_.error(request, ENOENT);
    }
    return node;
  }

  static void reply_made(Tree& tree, Request request, const Result<Node>& made) {
    if (made) {
      tree.reply_entry(request, *made);
    } else {
      tree.replies_.error(request, made.error().error);
    }
  }

  static void init(void* user_data, fuse_conn_info* connection) {
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
    }
    connection->max_write = static_cast<unsigned>(self.request_bytes_);
    self.answering_init_ = true;
    // Of RELEASEs the kernel sends only so many at a time and keeps the others back while it sends
    // what came after them: `rmdir` would find a name in use whose last user has been waited for.
    connection->max_background = std::numeric_limits<std::uint16_t>::max();
  }

  static void lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) {
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

  static void forget(fuse_req_t raw, fuse_ino_t ino, std::uint64_t lookups) {
    tree(raw).instances_.forget(ino, lookups);
    fuse_reply_none(raw);
  }

  static void forget_multi(fuse_req_t raw, std::size_t count, fuse_forget_data* forgets) {
    for (std::size_t i = 0; i < count; ++i) {
      tree(raw).instances_.forget(forgets[i].ino, forgets[i].nlookup);
    }
    fuse_reply_none(raw);
  }

  static void getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* /*info*/) {
    Tree& self = tree(raw);
    const Request request{raw, Op::getattr};
    if (const auto node = begin(self, request, ino)) {
      self.reply_attr(request, *node);
    }
  }

  static void setattr(fuse_req_t raw, fuse_ino_t ino, struct stat* wanted, int which,
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

  static void readlink(fuse_req_t raw, fuse_ino_t ino) {
    Tree& self = tree(raw);
    const Request request{raw, Op::readlink};
    if (const auto node = begin(self, request, ino)) {
      fuse_reply_readlink(raw, self.folder(*node).target(*node).c_str());
    }
  }

  static void mknod(fuse_req_t raw, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/,
                    dev_t /*device*/) {
    refuse(raw, Op::mknod, EPERM);
  }

  static void link(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_ino_t /*parent*/,
                   const char* /*name*/) {
    refuse(raw, Op::link, EPERM);
  }

  static void create(fuse_req_t raw, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/,
                     fuse_file_info* /*info*/) {
    refuse(raw, Op::create, EACCES);
  }

  static void refuse(fuse_req_t raw, Op op, int error) {
    Tree& self = tree(raw);
    self.counters_.asked(op);
    self.replies_.error({raw, op}, error);
  }

  static void mkdir(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode) {
    Tree& self = tree(raw);
    const Request request{raw, Op::mkdir};
    if (const auto directory = begin(self, request, parent)) {
      reply_made(self, request,
                 self.folder(*directory).make_directory(*directory, name, mode, request.opener()));
    }
  }

  static void symlink(fuse_req_t raw, const char* target, fuse_ino_t parent, const char* name) {
    Tree& self = tree(raw);
    const Request request{raw, Op::symlink};
    if (const auto directory = begin(self, request, parent)) {
      reply_made(self, request,
                 self.folder(*directory).make_link(*directory, name, target, request.opener()));
    }
  }

  static void rmdir(fuse_req_t raw, fuse_ino_t parent, const char* name) {
    Tree& self = tree(raw);
    const Request request{raw, Op::rmdir};
    if (const auto directory = begin(self, request, parent)) {
      self.replies_.status(
          request, self.folder(*directory).remove_directory(*directory, name, request.uid()));
    }
  }

  static void unlink(fuse_req_t raw, fuse_ino_t parent, const char* name) {
    Tree& self = tree(raw);
    const Request request{raw, Op::unlink};
    if (const auto directory = begin(self, request, parent)) {
      self.replies_.status(request,
                           self.folder(*directory).remove_link(*directory, name, request.uid()));
    }
  }

  static void rename(fuse_req_t raw, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                     const char* new_name, unsigned flags) {
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

  static void open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info) {
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

  static void read(fuse_req_t raw, fuse_ino_t /*ino*/, std::size_t size, off_t offset,
                   fuse_file_info* info) {
    tree(raw).counters_.asked(Op::read);
    // Only a read(2) of a direct file names its caller's lock owner; the page cache's reads do not.
    FileTable::from_handle(info->fh)->read({raw, Op::read}, size,
                                           {.offset = static_cast<std::uint64_t>(offset),
                                            .flags = info->flags,
                                            .through_cache = info->lock_owner == 0});
  }

  static void write(fuse_req_t raw, fuse_ino_t /*ino*/, const char* data, std::size_t size,
                    off_t offset, fuse_file_info* info) {
    tree(raw).counters_.asked(Op::write);
    FileTable::from_handle(info->fh)->write({raw, Op::write}, bytes_of(data, size),
                                            {.offset = static_cast<std::uint64_t>(offset),
                                             .flags = info->flags,
                                             .through_cache = info->writepage != 0});
  }

  static void poll(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info,
                   fuse_pollhandle* handle) {
    tree(raw).counters_.asked(Op::poll);
    File* file = FileTable::from_handle(info->fh);
    file->watch(handle);
    fuse_reply_poll(raw, file->ready());
  }

  static void ioctl(fuse_req_t raw, fuse_ino_t /*ino*/, unsigned command, void* /*argument*/,
                    fuse_file_info* info, unsigned flags, const void* in, std::size_t in_size,
                    std::size_t out_size) {
    Tree& self = tree(raw);
    self.counters_.asked(Op::ioctl);
    const Request request{raw, Op::ioctl};
    if ((flags & FUSE_IOCTL_DIR) != 0) {
      self.replies_.error(request, ENOTTY);
      return;
    }
    FileTable::from_handle(info->fh)->ioctl(request, command, bytes_of(in, in_size), out_size);
  }

  static void flush(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info) {
    Tree& self = tree(raw);
    self.counters_.asked(Op::flush);
    File& file = *FileTable::from_handle(info->fh);
    self.locks_.flushed(file, info->lock_owner);
    file.flush({raw, Op::flush}, info->lock_owner);
  }

  static void release(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info) {
    Tree& self = tree(raw);
    self.counters_.asked(Op::release);
    File* file = FileTable::from_handle(info->fh);
    self.locks_.released(*file);
    self.files_.remove(file);
    fuse_reply_err(raw, 0);
  }

  static void flock(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info, int operation) {
    Tree& self = tree(raw);
    self.counters_.asked(Op::lock);
    self.locks_.flock({raw, Op::lock}, *FileTable::from_handle(info->fh), info->lock_owner,
                      operation);
  }

  static void setlk(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info, struct flock* wanted,
                    int may_wait) {
    Tree& self = tree(raw);
    self.counters_.asked(Op::lock);
    self.locks_.set({raw, Op::lock}, *FileTable::from_handle(info->fh), info->lock_owner, *wanted,
                    may_wait != 0);
  }

  static void getlk(fuse_req_t raw, fuse_ino_t /*ino*/, fuse_file_info* info,
                    struct flock* wanted) {
    Tree& self = tree(raw);
    self.counters_.asked(Op::lock);
    self.locks_.get({raw, Op::lock}, *FileTable::from_handle(info->fh), info->lock_owner, *wanted);
  }

  static void opendir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info) {
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

  static void releasedir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* info) {
    release(raw, ino, info);
  }

  static void readdir(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                      fuse_file_info* /*info*/) {
    list(raw, ino, size, offset, false);
  }

  static void readdirplus(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset,
                          fuse_file_info* /*info*/) {
    list(raw, ino, size, offset, true);
  }

  // The offset handed out with an entry is where its successor is looked for: 1 behind `.`, 2
  // behind `..`, from there on the folder's own cookies. Nothing is kept between two calls.
  static void list(fuse_req_t raw, fuse_ino_t ino, std::size_t size, off_t offset, bool plus) {
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

  static std::optional<Entry> entry_at(Tree& self, Node directory, std::uint64_t at) {
    if (at < kDots) {
      return Entry{{at == 0 ? "." : "..", directory}, at + 1};
    }
    auto entry = self.folder(directory).child_from(directory, at - kDots);
    if (entry) {
      entry->next += kDots;
    }
    return entry;
  }

  // `.`, `..` and message files get no look-up here (a node id of 0): a message file's would be a
  // node for each listing.
  static std::size_t add_entry(Tree& self, fuse_req_t raw, const Entry& entry, bool plus,
                               std::string& buffer, std::size_t used) {
    fuse_entry_param parameters{};
    const Node node = entry.child.node;
    parameters.attr = self.stat_of(node);
    const FileType type = self.folder(node).type(node);
    const bool dots = entry.next <= kDots;
    if (plus && !dots && type != FileType::message && type != FileType::mapped) {
      parameters.ino = node.id();
      parameters.attr_timeout = self.timeout(node);
      parameters.entry_timeout = parameters.attr_timeout;
      self.ends_.mark_looked_up(node);
    }
    return add(raw, entry.child.name, parameters, static_cast<off_t>(entry.next), plus, buffer,
               used);
  }

  static constexpr std::uint64_t kDots = 2;

  static std::size_t add(fuse_req_t raw, const std::string& name, const fuse_entry_param& entry,
                         off_t next, bool plus, std::string& buffer, std::size_t used) {
    char* at = buffer.data() + used;
    const std::size_t room = buffer.size() - used;
    return plus ? fuse_add_direntry_plus(raw, at, room, name.c_str(), &entry, next)
                : fuse_add_direntry(raw, at, room, name.c_str(), &entry.attr, next);
  }

  static void setxattr(fuse_req_t raw, fuse_ino_t ino, const char* name, const char* value,
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

  static void getxattr(fuse_req_t raw, fuse_ino_t ino, const char* name, std::size_t size) {
    Tree& self = tree(raw);
    const Request request{raw, Op::getxattr};
    const auto node = begin(self, request, ino);
    if (!node) {
      return;
    }
    const Meta* changed = self.metas_.find(self.folder(*node).lasting(*node));
    const bool access = std::strcmp(name, kAccessAclName) == 0;
    if (!access || changed == nullptr || changed->acl.empty()) {
      fuse_reply_err(raw, ENODATA);  // the usual answer, not a refusal
      return;
    }
    reply_xattr(self.replies_, request, format_acl(changed->acl), size);
  }

  static void listxattr(fuse_req_t raw, fuse_ino_t ino, std::size_t size) {
    Tree& self = tree(raw);
    const Request request{raw, Op::listxattr};
    const auto node = begin(self, request, ino);
    if (!node) {
      return;
    }
    const Meta* changed = self.metas_.find(self.folder(*node).lasting(*node));
    const bool has_acl = changed != nullptr && !changed->acl.empty();
    reply_xattr(self.replies_, request,
                bytes_of(kAccessAclName, has_acl ? std::strlen(kAccessAclName) + 1 : 0), size);
  }

  static void removexattr(fuse_req_t raw, fuse_ino_t ino, const char* name) {
    Tree& self = tree(raw);
    const Request request{raw, Op::removexattr};
    const auto node = begin(self, request, ino);
    if (!node) {
      return;
    }
    const Meta* changed = self.metas_.find(self.folder(*node).lasting(*node));
    if (std::strcmp(name, kAccessAclName) != 0 || changed == nullptr || changed->acl.empty()) {
      fuse_reply_err(raw, ENODATA);
      return;
    }
    Meta data = *changed;
    data.acl.clear();
    data.changed = wall_clock_now();
    self.replies_.status(request, self.keep(*node, std::move(data), request.uid()));
  }
};

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
