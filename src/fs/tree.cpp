// SPDX-License-Identifier: BSD-3-Clause
#include "fs/tree.hpp"

#include <fcntl.h>

#include <cstring>

#include "fs/attribute_file.hpp"

namespace flowfs::fs {
namespace {

constexpr blksize_t kBlock = 4096;
constexpr off_t kStatBlock = 512;

// How long the kernel may keep what it learnt. Only mkdir, mv and the like change names, and they
// pass through the kernel; flows come and go by themselves, and their end is told (on_end_gone).
constexpr double kLasting = 60.0;
constexpr double kPassing = 1.0;

mode_t type_bits(FileType type) {
  switch (type) {
    case FileType::directory:
      return S_IFDIR;
    case FileType::symlink:
      return S_IFLNK;
    default:
      return S_IFREG;
  }
}

timespec chosen_time(int which, int now_bit, const timespec& wanted) {
  return (which & now_bit) != 0 ? wall_clock_now() : wanted;
}

}  // namespace

void Tree::set_longest_message(std::size_t bytes) {
  request_bytes_ = request_pages(bytes) * kPageBytes;
  names_.set_longest_message(bytes);
  buses_.set_longest_write(bytes);
}

Tree::Tree(Loop& loop, registry::Registry& registry, registry::Users& users,
           RootFolder::Texts texts)
    : loop_(loop),
      accounts_(users),
      replies_(counters_),
      parking_(loop, users, replies_, longest_park()),
      locks_(parking_, replies_),
      files_(users),
      pools_(loop, users, backings_),
      pool_filler_(loop, pools_, parking_, replies_),
      handshakes_(loop),
      ends_(loop, registry, users, parking_, files_, events_, replies_, handshakes_),
      mapped_(loop, users, ends_, files_, replies_, backings_),
      buses_(loop, users, parking_, files_, events_, replies_),
      mapped_buses_(loop, users, buses_, mapped_, files_, replies_, backings_),
      attachments_(loop, buses_, files_),
      vde_(loop, buses_, files_, counters_,
           [this](registry::BusId id, const Caller& caller) { return rights_on(id, caller); }),
      root_(events_, files_, parking_, replies_, std::move(texts)),
      names_(registry, users, ends_, metas_),
      flows_(registry, ends_, mapped_, replies_),
      users_(users, mapped_),
      pools_folder_(pools_, pool_filler_, ends_, files_, replies_),
      buses_folder_(buses_, mapped_buses_, metas_, replies_),
      attachments_folder_(buses_, attachments_),
      request_bytes_(request_pages(registry::kLongestMessage) * kPageBytes) {
  pools_.on_gone = [this](PoolSerial serial) {
    metas_.erase_object(Kind::pool, std::to_underlying(serial));
  };
  buses_.before_leave = [this](bus::PortId id) { mapped_buses_.before_leave(id); };
  buses_.before_shut_down = [this](bus::PortId id, registry::Rights rights) {
    return mapped_buses_.before_shut_down(id, rights);
  };
  buses_.on_shut_down = [this](bus::PortId id) { mapped_buses_.shut_down(id); };
  buses_.on_port_gone = [this](bus::PortId id) {
    mapped_buses_.port_gone(id);
    metas_.erase_object(Kind::port, static_cast<std::uint64_t>(id));
  };
  buses_.on_kind = [this](registry::BusId id) { vde_.update(id); };
  attachments_.on_gone = [this](AttachmentId id) {
    const Node directory{Kind::attachment, std::to_underlying(id), 0};
    metas_.erase_object(directory.kind, directory.object);
    forget_attributes(directory);
  };
  ends_.on_end_gone = [this](registry::FlowId id, bool looked_up) {
    const Node directory{Kind::flow, static_cast<std::uint64_t>(id), 0};
    metas_.erase_object(directory.kind, directory.object);
    if (looked_up) {
      forget_attributes(directory);
    }
  };
}

Tree::~Tree() {
  session_ = nullptr;
  files_.clear();
}

void Tree::set_session(fuse_session* session) {
  session_ = session;
  if (session == nullptr) {
    close_memory_socket();
    vde_.close();
  }
  const bool maps = session != nullptr && passthrough_;
  backings_.set_device(maps ? fuse_session_fd(session) : -1);
  if (maps) {
    pools_.prefault();
  }
}

void Tree::abort_all(int error) {
  ends_.abort_all(error);
  locks_.abort_all(error);
  pool_filler_.abort_all(error);
  files_.clear();  // streams answer their readers as they go
}

// Makes the kernel ask again, where it knows the node; of one that has gone it learns that. Of a
// node's data and name nothing is said, so no lock is taken in the kernel.
void Tree::forget_attributes(Node node) {
  if (session_ != nullptr) {
    fuse_lowlevel_notify_inval_inode(session_, node.id(), -1, 0);
  }
}

Folder& Tree::folder(Node node) {
  if (AttachmentsFolder::has(node)) {
    return attachments_folder_;
  }
  switch (node.kind) {
    case Kind::names:
    case Kind::name:
    case Kind::alias:
    case Kind::security:
      return names_;
    case Kind::flows:
    case Kind::flow:
    case Kind::segment:
      return flows_;
    case Kind::users:
    case Kind::user:
      return users_;
    case Kind::pools:
    case Kind::pool:
      return pools_folder_;
    case Kind::buses:
    case Kind::bus:
    case Kind::port:
    case Kind::attachment:
    case Kind::bus_memory:
      return buses_folder_;
    case Kind::root:
      break;
  }
  return root_;
}

std::optional<Node> Tree::resolve(fuse_ino_t id) {
  const auto node = Instances::is_instance(id) ? instances_.find(id) : Node::decode(id);
  return node && folder(*node).exists(*node) ? node : std::nullopt;
}

Meta Tree::meta(Node node) {
  const Meta* changed = metas_.find(folder(node).lasting(node));
  return changed != nullptr ? *changed : folder(node).defaults(node);
}

double Tree::entry_timeout(Node node) {
  const FileType type = folder(node).type(node);
  // The number of a port is another port's soon after it has left, and a bus may lose its link.
  if (type == FileType::message || type == FileType::mapped || node.kind == Kind::port ||
      (type == FileType::symlink && node.kind == Kind::bus)) {
    return 0;
  }
  const bool passing = node.kind == Kind::flow || node.kind == Kind::flows ||
                       node.kind == Kind::users || node.kind == Kind::pools;
  return passing ? kPassing : kLasting;
}

double Tree::attribute_timeout(Node node) {
  // Each open looks the name of mapped memory up and hears them then; other memory is another node.
  return folder(node).type(node) == FileType::mapped ? kPassing : entry_timeout(node);
}

struct stat Tree::stat_of(Node node) {
  const FileType type = folder(node).type(node);
  const Meta data = meta(node);
  struct stat result{};
  result.st_ino = node.id();
  result.st_mode = type_bits(type) | data.mode;
  result.st_nlink = type == FileType::directory ? 2 : 1;
  result.st_uid = data.uid;
  result.st_gid = data.gid;
  result.st_blksize = kBlock;
  result.st_atim = data.access;
  result.st_mtim = data.modified;
  result.st_ctim = data.changed;
  switch (type) {
    case FileType::attribute:
      result.st_size = static_cast<off_t>(folder(node).longest_value(node));
      break;
    case FileType::message:
    case FileType::stream:
      // At least the longest request: writes may then run in parallel.
      result.st_size = static_cast<off_t>(request_bytes_);
      result.st_blocks = result.st_size / kStatBlock;
      break;
    case FileType::mapped:
      result.st_size = static_cast<off_t>(folder(node).mapped_size(node));
      result.st_blocks = result.st_size / kStatBlock;
      break;
    case FileType::symlink:
      result.st_size = static_cast<off_t>(folder(node).target(node).size());
      break;
    case FileType::directory:
      break;
  }
  return result;
}

void Tree::reply_entry(Request request, Node node) {
  fuse_entry_param entry{};
  const bool own_node = folder(node).type(node) == FileType::message;
  entry.ino = own_node ? instances_.make(node) : node.id();
  entry.attr = stat_of(node);
  entry.attr_timeout = attribute_timeout(node);
  entry.entry_timeout = entry_timeout(node);
  if (fuse_reply_entry(request.raw, &entry) != 0 && own_node) {
    instances_.forget(entry.ino, 1);
  }
}

void Tree::reply_attr(Request request, Node node) {
  const struct stat attributes = stat_of(node);
  fuse_reply_attr(request.raw, &attributes, attribute_timeout(node));
}

// chmod, chown, utimes and truncate. The kernel has checked that the caller may.
Status Tree::change(Node node, const struct stat& wanted, int which, uid_t by) {
  const FileType type = folder(node).type(node);
  if ((which & FUSE_SET_ATTR_SIZE) != 0 && type == FileType::mapped) {
    return fail(EPERM, "a mapped file keeps its size");
  }
  constexpr int kKept = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
                        FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
                        FUSE_SET_ATTR_MTIME_NOW;
  if ((which & kKept) == 0) {
    return {};  // O_TRUNC: sizes are constant
  }
  Meta data = meta(node);
  if ((which & FUSE_SET_ATTR_MODE) != 0) {
    data.mode = wanted.st_mode & 07777;
    chmod_acl(data.acl, data.mode);
  }
  if ((which & FUSE_SET_ATTR_UID) != 0) {
    data.uid = wanted.st_uid;
  }
  if ((which & FUSE_SET_ATTR_GID) != 0) {
    data.gid = wanted.st_gid;
  }
  if ((which & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) != 0) {
    data.access = chosen_time(which, FUSE_SET_ATTR_ATIME_NOW, wanted.st_atim);
  }
  if ((which & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) != 0) {
    data.modified = chosen_time(which, FUSE_SET_ATTR_MTIME_NOW, wanted.st_mtim);
  }
  data.changed = wall_clock_now();
  return keep(node, std::move(data), by);
}

Status Tree::keep(Node node, Meta meta, uid_t by) {
  if (folder(node).is_derived(node)) {
    return fail(EPERM, "follows another node");
  }
  auto charge = accounts_.charge(by, registry::Resource::bytes, MetaStore::bytes_of(meta));
  if (!charge) {
    return std::unexpected(charge.error());
  }
  metas_.set(folder(node).lasting(node), std::move(meta), std::move(*charge));
  for (const Node derived : folder(node).derived_from(node)) {
    forget_attributes(derived);
  }
  return {};
}

Status Tree::set_acl(Node node, std::span<const std::byte> bytes, uid_t by) {
  auto acl = parse_acl(bytes);
  if (!acl) {
    return std::unexpected(acl.error());
  }
  Meta data = meta(node);
  data.mode = apply_acl(*acl, data.mode);
  data.acl = std::move(*acl);
  data.changed = wall_clock_now();
  return keep(node, std::move(data), by);
}

void Tree::open(Request request, Node node, int flags) {
  Folder& where = folder(node);
  if (where.type(node) != FileType::attribute) {
    where.open(request, node, flags);
    return;
  }
  auto file =
      files_.add(std::make_unique<AttributeFile>(where, replies_, node, flags), request.uid());
  if (!file) {
    replies_.error(request, file.error().error);
  } else if (!reply_open(request, *file, OpenMode::attribute)) {
    files_.remove(*file);
  }
}

}  // namespace flowfs::fs
