// SPDX-License-Identifier: BSD-3-Clause
// Access control lists: bytes written by hand from the format, modes worked out by hand from
// acl(5).
#include "fs/acl.hpp"

#include <gmock/gmock.h>

#include <initializer_list>

namespace flowfs::fs {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;

constexpr std::uint16_t kUserObj = 0x01;
constexpr std::uint16_t kUser = 0x02;
constexpr std::uint16_t kGroupObj = 0x04;
constexpr std::uint16_t kGroup = 0x08;
constexpr std::uint16_t kMask = 0x10;
constexpr std::uint16_t kOther = 0x20;
constexpr std::uint32_t kNoId = 0xffffffff;

std::vector<std::byte> bytes(std::initializer_list<unsigned> values) {
  std::vector<std::byte> result;
  for (const unsigned value : values) {
    result.push_back(static_cast<std::byte>(value));
  }
  return result;
}

// u::rw-, u:1000:r-x, g::r--, g:258:rwx, m::r-x, o::---
const std::vector<std::byte> kFullBytes = bytes({
    2,    0, 0, 0,                          // version
    0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,  // owner
    0x02, 0, 5, 0, 0xe8, 0x03, 0,    0,     // user 1000
    0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,  // owning group
    0x08, 0, 7, 0, 0x02, 0x01, 0,    0,     // group 258
    0x10, 0, 5, 0, 0xff, 0xff, 0xff, 0xff,  // mask
    0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,  // others
});

Acl full() {
  return {{kUserObj, 6, kNoId}, {kUser, 5, 1000},  {kGroupObj, 4, kNoId},
          {kGroup, 7, 258},     {kMask, 5, kNoId}, {kOther, 0, kNoId}};
}

Acl base(std::uint16_t user, std::uint16_t group, std::uint16_t others) {
  return {{kUserObj, user, kNoId}, {kGroupObj, group, kNoId}, {kOther, others, kNoId}};
}

std::vector<std::uint16_t> perms(const Acl& acl) {
  std::vector<std::uint16_t> result;
  for (const AclEntry& entry : acl) {
    result.push_back(entry.perm);
  }
  return result;
}

int error_of(const Acl& acl) {
  const auto parsed = parse_acl(format_acl(acl));
  return parsed ? 0 : parsed.error().error;
}

TEST(acl, parses_every_kind_of_entry) {
  const auto acl = parse_acl(kFullBytes);
  ASSERT_TRUE(acl);
  ASSERT_EQ(acl->size(), 6U);
  EXPECT_EQ((*acl)[1].tag, kUser);
  EXPECT_EQ((*acl)[1].perm, 5);
  EXPECT_EQ((*acl)[1].id, 1000U);
  EXPECT_EQ((*acl)[3].id, 258U);
  EXPECT_THAT(perms(*acl), ElementsAreArray({6, 5, 4, 7, 5, 0}));
}

TEST(acl, formats_what_it_parses) {
  EXPECT_THAT(format_acl(full()), ElementsAreArray(kFullBytes));
  EXPECT_THAT(format_acl(*parse_acl(kFullBytes)), ElementsAreArray(kFullBytes));
}

TEST(acl, formats_unnamed_entries_without_an_id) {
  Acl acl = base(7, 7, 7);
  acl[0].id = 5;
  EXPECT_EQ(format_acl(acl), format_acl(base(7, 7, 7)));
}

TEST(acl, sorts_entries_by_tag_and_id) {
  const Acl shuffled{{kOther, 0, kNoId},  {kMask, 5, kNoId},     {kGroup, 7, 258},
                     {kUser, 5, 1000},    {kGroupObj, 4, kNoId}, {kUser, 1, 999},
                     {kUserObj, 6, kNoId}};
  const auto acl = parse_acl(format_acl(shuffled));
  ASSERT_TRUE(acl);
  EXPECT_THAT(perms(*acl), ElementsAreArray({6, 1, 5, 4, 7, 5, 0}));
}

TEST(acl, no_entries_are_no_list) {
  const auto acl = parse_acl(bytes({2, 0, 0, 0}));
  ASSERT_TRUE(acl);
  EXPECT_THAT(*acl, IsEmpty());
}

TEST(acl, rejects_lengths_that_are_no_list) {
  for (const std::size_t size : {0U, 3U, 5U, 11U, 13U, 51U}) {
    const auto acl = parse_acl(std::span(kFullBytes).first(size));
    ASSERT_FALSE(acl) << size;
    EXPECT_EQ(acl.error().error, EINVAL) << size;
  }
}

TEST(acl, rejects_other_versions) {
  std::vector<std::byte> other = kFullBytes;
  other[0] = std::byte{1};
  EXPECT_EQ(parse_acl(other).error().error, EOPNOTSUPP);
}

TEST(acl, rejects_lists_without_a_base_entry) {
  for (const std::size_t missing : {0U, 1U, 2U}) {
    Acl acl = base(7, 5, 5);
    acl.erase(acl.begin() + static_cast<std::ptrdiff_t>(missing));
    EXPECT_EQ(error_of(acl), EINVAL) << missing;
  }
}

TEST(acl, rejects_entries_given_twice) {
  for (const AclEntry& entry : full()) {
    Acl acl = full();
    acl.push_back(entry);
    EXPECT_EQ(error_of(acl), EINVAL) << entry.tag;
  }
}

TEST(acl, rejects_named_entries_without_a_mask) {
  Acl acl = base(7, 5, 5);
  acl.push_back({kUser, 7, 1000});
  EXPECT_EQ(error_of(acl), EINVAL);
  acl.push_back({kMask, 7, kNoId});
  EXPECT_EQ(error_of(acl), 0);
}

TEST(acl, rejects_unknown_tags_bits_and_ids) {
  Acl tag = full();
  tag.push_back({0x40, 7, 1});
  EXPECT_EQ(error_of(tag), EINVAL);
  Acl bits = full();
  bits[0].perm = 8;
  EXPECT_EQ(error_of(bits), EINVAL);
  Acl id = full();
  id[1].id = kNoId;
  EXPECT_EQ(error_of(id), EINVAL);
}

TEST(acl, group_bits_of_the_mode_are_the_mask) {
  Acl acl = full();
  EXPECT_EQ(apply_acl(acl, 0777), 0650U);
  EXPECT_EQ(acl.size(), 6U);
}

TEST(acl, base_entries_alone_become_the_mode) {
  Acl acl = base(7, 5, 1);
  EXPECT_EQ(apply_acl(acl, 0600), 0751U);
  EXPECT_THAT(acl, IsEmpty());
}

TEST(acl, a_mask_without_named_entries_stays_a_list) {
  Acl acl = base(7, 7, 4);
  acl.insert(acl.begin() + 2, {kMask, 5, kNoId});
  EXPECT_EQ(apply_acl(acl, 0), 0754U);
  EXPECT_EQ(acl.size(), 4U);
}

TEST(acl, special_bits_of_the_mode_stay) {
  Acl acl = base(7, 5, 5);
  EXPECT_EQ(apply_acl(acl, 03000), 03755U);
}

TEST(acl, no_list_leaves_the_mode) {
  Acl acl;
  EXPECT_EQ(apply_acl(acl, 01764), 01764U);
  chmod_acl(acl, 0700);
  EXPECT_THAT(acl, IsEmpty());
}

TEST(acl, chmod_rewrites_owner_mask_and_others) {
  Acl acl = full();
  chmod_acl(acl, 0137);
  EXPECT_THAT(perms(acl), ElementsAreArray({1, 5, 4, 7, 3, 7}));
}

TEST(acl, chmod_without_a_mask_rewrites_the_group) {
  Acl acl = base(7, 5, 5);
  chmod_acl(acl, 0246);
  EXPECT_THAT(perms(acl), ElementsAreArray({2, 4, 6}));
}

}  // namespace
}  // namespace flowfs::fs
