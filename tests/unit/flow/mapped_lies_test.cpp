// SPDX-License-Identifier: BSD-3-Clause
// Programs that break the rules of the shared memory.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "mapped_fixture.hpp"

namespace flowfs::flow {
namespace {

using test::kClient;
using test::kServer;
using test::Mapped;
using test::read;
using test::write;

TEST_F(Mapped, garbage_poisons_this_flow_for_both_ends) {
  const auto server = attach(kServer);
  Channel neighbour({.mtu_bytes = 5'000, .depth_bytes = 20'000});
  ASSERT_TRUE(neighbour.make_segments(world.setup()).has_value());
  std::memset(server->memory().data() + 4'096, 0x41, 4'096);
  EXPECT_EQ(read(channel, kClient), "(corrupt)");
  EXPECT_EQ(write(channel, kClient, "x"), "(corrupt)");
  EXPECT_NE(server->slot().flags & FLOWFS_STATUS_CORRUPT, 0U);
  EXPECT_TRUE(channel.readable(kClient));
  EXPECT_TRUE(channel.writable(kClient));
  EXPECT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(attach_error(kServer), EPROTO);
  EXPECT_EQ(write(neighbour, kClient, "unharmed"), "ok");
  EXPECT_EQ(read(neighbour, kServer), "unharmed");
}

TEST_F(Mapped, lying_cursors_poison_the_flow) {
  const auto server = attach(kServer);
  ASSERT_EQ(write(channel, kClient, "x"), "ok");
  server->header().cursors.hot = 1 << 20;
  std::string outcome = "ok";
  for (int i = 0; i < 1'000 && outcome == "ok"; ++i) {
    outcome = write(channel, kClient, std::string(100, 'x'));
  }
  EXPECT_EQ(outcome, "(corrupt)");
}

TEST_F(Mapped, a_punched_hole_is_an_empty_lane) {
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("gone"), "ok");
  ASSERT_EQ(::madvise(server->memory().data(), server->memory().size(), MADV_REMOVE), 0);
  EXPECT_EQ(read(channel, kClient), "(empty)");
  EXPECT_EQ(write(channel, kClient, "x"), "ok");
  EXPECT_EQ(server->receive(), "x") << "the other direction was not in it";
}

TEST_F(Mapped, detach_of_a_liar_costs_its_flow_alone) {
  const auto server = attach(kServer);
  ASSERT_EQ(write(channel, kClient, "unread"), "ok");
  server->header().cursors.hot = 8;
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(read(channel, kServer), "(corrupt)");
  EXPECT_EQ(read(channel, kClient), "(corrupt)");
}

}  // namespace
}  // namespace flowfs::flow
