// SPDX-License-Identifier: BSD-3-Clause
#include "fs/acl.hpp"

#include <algorithm>
#include <cstring>

namespace flowfs::fs {
namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kNoId = 0xffffffff;
constexpr std::size_t kEntryBytes = 8;
constexpr std::size_t kHeaderBytes = 4;

bool named(const AclEntry& entry) { return entry.tag == kAclUser || entry.tag == kAclGroup; }

// The order in which entries stand, and what makes two of them duplicates.
bool before(const AclEntry& a, const AclEntry& b) {
  return a.tag != b.tag ? a.tag < b.tag : named(a) && a.id < b.id;
}

bool valid(const Acl& acl) {
  const auto count = [&](std::uint16_t tag) {
    return std::ranges::count(acl, tag, &AclEntry::tag);
  };
  const bool known = std::ranges::all_of(acl, [](const AclEntry& entry) {
    const bool tag_known = entry.tag == kAclUserObj || entry.tag == kAclUser ||
                           entry.tag == kAclGroupObj || entry.tag == kAclGroup ||
                           entry.tag == kAclMask || entry.tag == kAclOther;
    return tag_known && entry.perm <= 7 && (!named(entry) || entry.id != kNoId);
  });
  const bool base = count(kAclUserObj) == 1 && count(kAclGroupObj) == 1 && count(kAclOther) == 1;
  const bool extended = std::ranges::any_of(acl, named);
  const auto masks = count(kAclMask);
  const bool distinct = std::ranges::adjacent_find(acl, [](const AclEntry& a, const AclEntry& b) {
                          return !before(a, b);
                        }) == acl.end();
  return known && base && distinct && masks <= 1 && (!extended || masks == 1);
}

AclEntry* find(Acl& acl, std::uint16_t tag) {
  const auto it = std::ranges::find(acl, tag, &AclEntry::tag);
  return it == acl.end() ? nullptr : &*it;
}

// An entry that every valid list has.
AclEntry& base(Acl& acl, std::uint16_t tag) {
  AclEntry* entry = find(acl, tag);
  FLOWFS_CHECK(entry != nullptr);
  return *entry;
}

// What the group bits of the mode show: the mask where there is one.
AclEntry& group_class(Acl& acl) {
  AclEntry* mask = find(acl, kAclMask);
  return mask != nullptr ? *mask : base(acl, kAclGroupObj);
}

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <typename T>
void store(std::vector<std::byte>& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

}  // namespace

// The format is little-endian, as are the machines this runs on.
Result<Acl> parse_acl(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes || (bytes.size() - kHeaderBytes) % kEntryBytes != 0) {
    return fail(EINVAL, "acl: length");
  }
  if (load<std::uint32_t>(bytes, 0) != kVersion) {
    return fail(EOPNOTSUPP, "acl: version");
  }
  Acl acl;
  for (std::size_t at = kHeaderBytes; at < bytes.size(); at += kEntryBytes) {
    acl.push_back({load<std::uint16_t>(bytes, at), load<std::uint16_t>(bytes, at + 2),
                   load<std::uint32_t>(bytes, at + 4)});
  }
  std::ranges::sort(acl, before);
  if (!acl.empty() && !valid(acl)) {
    return fail(EINVAL, "acl: entries");
  }
  return acl;
}

std::vector<std::byte> format_acl(const Acl& acl) {
  std::vector<std::byte> bytes(kHeaderBytes + acl.size() * kEntryBytes);
  store(bytes, 0, kVersion);
  std::size_t at = kHeaderBytes;
  for (const AclEntry& entry : acl) {
    store(bytes, at, entry.tag);
    store(bytes, at + 2, entry.perm);
    store(bytes, at + 4, named(entry) ? entry.id : kNoId);
    at += kEntryBytes;
  }
  return bytes;
}

mode_t apply_acl(Acl& acl, mode_t mode) {
  if (acl.empty()) {
    return mode;
  }
  mode = (mode & ~mode_t{0777}) | static_cast<mode_t>(base(acl, kAclUserObj).perm << 6) |
         static_cast<mode_t>(group_class(acl).perm << 3) | base(acl, kAclOther).perm;
  if (find(acl, kAclMask) == nullptr) {  // three base entries: no more than the mode says
    acl.clear();
  }
  return mode;
}

void chmod_acl(Acl& acl, mode_t mode) {
  if (acl.empty()) {
    return;
  }
  base(acl, kAclUserObj).perm = (mode >> 6) & 7;
  group_class(acl).perm = (mode >> 3) & 7;
  base(acl, kAclOther).perm = mode & 7;
}

}  // namespace flowfs::fs
