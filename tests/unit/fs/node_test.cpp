// SPDX-License-Identifier: BSD-3-Clause
#include "fs/node.hpp"

#include <gtest/gtest.h>

namespace flowfs::fs {
namespace {

TEST(Node, has_an_id_that_tells_what_it_names) {
  for (std::uint8_t kind = 1; kind <= kLastKind; ++kind) {
    for (const std::uint64_t object :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 47}) {
      for (const std::uint8_t file : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{255}}) {
        const Node node{static_cast<Kind>(kind), object, file};
        if (node == Node{Kind::root, object, 0} && object != 0) {
          continue;  // the root is one
        }
        EXPECT_EQ(Node::decode(node.id()), node);
        EXPECT_FALSE(Instances::is_instance(node.id()));
      }
    }
  }
}

TEST(Node, is_fuses_root_for_the_mount) {
  EXPECT_EQ(Node{}.id(), 1U);
  EXPECT_EQ(Node::decode(1), Node{});
}

TEST(Node, is_nothing_for_an_unknown_id) {
  EXPECT_FALSE(Node::decode(0));
  EXPECT_FALSE(Node::decode(2));
  EXPECT_FALSE(Node::decode(std::uint64_t{kLastKind + 1} << 56));
}

TEST(Instances, are_never_the_same_and_go_when_all_look_ups_are_forgotten) {
  Instances instances;
  const Node node{Kind::name, 7, 1};
  const std::uint64_t one = instances.make(node);
  const std::uint64_t two = instances.make(node);
  EXPECT_NE(one, two);
  EXPECT_TRUE(Instances::is_instance(one));
  EXPECT_EQ(instances.find(one), node);
  instances.forget(one, 1);
  EXPECT_FALSE(instances.find(one));
  EXPECT_EQ(instances.find(two), node);
  instances.forget(one, 1);  // again: nothing
  instances.forget(two, 5);  // more than there were
  EXPECT_EQ(instances.size(), 0U);
}

}  // namespace
}  // namespace flowfs::fs
