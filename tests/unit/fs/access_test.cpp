// SPDX-License-Identifier: BSD-3-Clause
// Against the kernel itself it is tried in tests/fs/test_memory_socket.py.
#include "fs/access.hpp"

#include <gtest/gtest.h>

namespace flowfs::fs {
namespace {

constexpr uid_t kOwner = 1;
constexpr gid_t kGroup = 10;

Caller caller(uid_t uid, gid_t gid, std::vector<gid_t> groups = {}) {
  return {.uid = uid, .gid = gid, .groups = std::move(groups)};
}

Meta node(mode_t mode, Acl acl = {}) {
  return {.mode = mode, .uid = kOwner, .gid = kGroup, .acl = std::move(acl)};
}

// With the entries that every list has, and its mask, which the mode's group bits are.
Meta listed(mode_t mode, std::uint16_t group_obj, const Acl& named) {
  Acl acl{{.tag = kAclUserObj, .perm = static_cast<std::uint16_t>(mode >> 6 & 7)},
          {.tag = kAclGroupObj, .perm = group_obj},
          {.tag = kAclMask, .perm = static_cast<std::uint16_t>(mode >> 3 & 7)},
          {.tag = kAclOther, .perm = static_cast<std::uint16_t>(mode & 7)}};
  acl.insert(acl.end(), named.begin(), named.end());
  return node(mode, std::move(acl));
}

TEST(Access, one_class_of_the_mode_decides) {
  const Meta meta = node(0426);
  EXPECT_TRUE(permits(meta, caller(kOwner, kGroup), kMayRead));
  EXPECT_FALSE(permits(meta, caller(kOwner, kGroup), kMayWrite)) << "though its group may";
  EXPECT_TRUE(permits(meta, caller(2, kGroup), kMayWrite));
  EXPECT_FALSE(permits(meta, caller(2, kGroup), kMayRead)) << "though all others may";
  EXPECT_TRUE(permits(meta, caller(2, 20, {30, kGroup}), kMayWrite));
  EXPECT_FALSE(permits(meta, caller(2, 20, {30, kGroup}), kMayRead));
  EXPECT_TRUE(permits(meta, caller(2, 20), kMayRead | kMayWrite));
}

TEST(Access, all_that_is_wanted_must_be_granted) {
  EXPECT_FALSE(permits(node(0444), caller(2, 20), kMayRead | kMayWrite));
  EXPECT_FALSE(permits(node(0666), caller(2, 20), kMaySearch));
}

TEST(Access, root_may) {
  EXPECT_TRUE(permits(node(0), caller(0, 0), kMayRead | kMayWrite | kMaySearch));
}

TEST(Access, a_named_user_has_what_its_entry_and_the_mask_grant) {
  const Meta meta = listed(0647, 0, {{.tag = kAclUser, .perm = 7, .id = 5}});
  EXPECT_TRUE(permits(meta, caller(5, 20), kMayRead));
  EXPECT_FALSE(permits(meta, caller(5, 20), kMayWrite)) << "masked";
  EXPECT_TRUE(permits(meta, caller(6, 20), kMayWrite)) << "one of the others";
}

TEST(Access, any_group_that_grants_all_is_enough_and_one_that_does_not_keeps_out) {
  const Meta meta = listed(
      0677, 2, {{.tag = kAclGroup, .perm = 4, .id = 20}, {.tag = kAclGroup, .perm = 6, .id = 30}});
  EXPECT_TRUE(permits(meta, caller(2, kGroup), kMayWrite));
  EXPECT_FALSE(permits(meta, caller(2, kGroup, {20}), kMayRead | kMayWrite)) << "not added up";
  EXPECT_TRUE(permits(meta, caller(2, 20, {30}), kMayRead | kMayWrite));
  EXPECT_FALSE(permits(meta, caller(2, 20), kMaySearch)) << "though all others may";
}

TEST(Access, a_list_whose_mask_is_empty_is_passed_over) {
  const Meta meta = listed(0604, 6, {{.tag = kAclUser, .perm = 6, .id = 5}});
  EXPECT_TRUE(permits(meta, caller(5, 20), kMayRead)) << "as the others";
  EXPECT_FALSE(permits(meta, caller(2, kGroup), kMayRead));
}

}  // namespace
}  // namespace flowfs::fs
