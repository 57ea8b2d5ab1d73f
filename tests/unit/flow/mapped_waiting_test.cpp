// SPDX-License-Identifier: BSD-3-Clause
// A file end that waits for a mapped peer.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "mapped_fixture.hpp"

namespace flowfs::flow {
namespace {

using test::kClient;
using test::kServer;
using test::Mapped;
using test::Program;
using test::read;
using test::write;

class MappedWaiting : public Mapped {
 protected:
  // Serves what is due, without waiting for what is not.
  void serve() {
    for (int i = 0; i < 4; ++i) {
      world.loop->run_once(Micros{0});
    }
  }
  void serve_until_heard() {
    const int before = world.hearing.calls;
    for (int i = 0; i < 100 && world.hearing.calls == before; ++i) {
      world.loop->run_once(Micros{100'000});
    }
  }
};

TEST_F(MappedWaiting, hears_of_data_that_comes_later_once) {
  const auto server = attach(kServer);
  ASSERT_EQ(read(channel, kClient), "(empty)");
  channel.wait_for(kClient, {.data = true});
  serve();
  EXPECT_EQ(world.hearing.calls, 0);
  ASSERT_EQ(server->send("one"), "ok");
  serve_until_heard();
  EXPECT_EQ(world.hearing.calls, 1);
  EXPECT_EQ(read(channel, kClient), "one");
  ASSERT_EQ(server->send("two"), "ok");
  serve();
  EXPECT_EQ(world.hearing.calls, 1) << "nobody waits any more";
}

TEST_F(MappedWaiting, hears_at_once_of_data_that_is_there) {
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("one"), "ok");
  channel.wait_for(kClient, {.data = true});
  EXPECT_EQ(world.hearing.calls, 0) << "never from inside the call";
  serve_until_heard();
  EXPECT_EQ(world.hearing.calls, 1);
}

TEST_F(MappedWaiting, hears_of_room) {
  const auto server = attach(kServer);
  while (write(channel, kClient, std::string(400, 'x')) == "ok") {
  }
  EXPECT_FALSE(channel.writable(kClient));
  channel.wait_for(kClient, {.data = false, .room_bytes = 400});
  serve();
  ASSERT_EQ(world.hearing.calls, 0);
  while (server->receive() != "(empty)") {
  }
  serve_until_heard();
  EXPECT_EQ(world.hearing.calls, 1);
  EXPECT_TRUE(channel.writable(kClient));
}

TEST_F(MappedWaiting, does_not_hear_of_room_that_writable_denies) {
  const auto server = attach(kServer);
  while (write(channel, kClient, std::string(400, 'x')) == "ok") {
  }
  ASSERT_EQ(write(channel, kClient, std::string(5'000, 'L')), "ok") << "the bulk ring has room";
  ASSERT_EQ(write(channel, kClient, std::string(400, 'x')), "(full)");
  channel.wait_for(kClient, {.data = false, .room_bytes = channel.limits().mtu_bytes});
  serve();
  EXPECT_EQ(world.hearing.calls, 0);
  EXPECT_FALSE(channel.writable(kClient));
}

TEST_F(MappedWaiting, hears_of_shutdown_and_of_garbage) {
  const auto server = attach(kServer);
  channel.wait_for(kClient, {.data = true});
  serve();
  server->shutdown(FLOWFS_SHUT_SEND);
  serve_until_heard();
  EXPECT_EQ(world.hearing.calls, 1);
  EXPECT_EQ(read(channel, kClient), "(end)");
}

TEST_F(MappedWaiting, is_awake_when_nobody_waits) {
  const auto server = attach(kServer);
  const flowfs_segment* client = nullptr;
  const auto view = channel.segment(kClient);
  auto mapping = Mapping::map(Fd(::fcntl(view->fd, F_DUPFD_CLOEXEC, 0)), view->bytes,
                              Mapping::Access::read_only);
  ASSERT_TRUE(mapping.has_value());
  client = &pool::segment_header(std::as_bytes(mapping->bytes()));
  EXPECT_EQ(client->sleep_data & 1U, 0U);
  channel.wait_for(kClient, {.data = true});
  EXPECT_EQ(client->sleep_data & 1U, 1U);
  EXPECT_EQ(client->sleep_room & 1U, 0U);
  channel.stop_waiting(kClient);
  EXPECT_EQ(client->sleep_data & 1U, 0U);
  ASSERT_EQ(server->send("x"), "ok");
  EXPECT_EQ(server->header().bell, 0U) << "no system call for a peer that is awake";
  serve();
  EXPECT_EQ(world.hearing.calls, 0);
}

TEST_F(MappedWaiting, adds_a_second_interest_to_the_first) {
  const auto server = attach(kServer);
  while (write(channel, kClient, std::string(400, 'x')) == "ok") {
  }
  channel.wait_for(kClient, {.data = true});
  channel.wait_for(kClient, {.data = false, .room_bytes = 400});
  serve();
  ASSERT_EQ(world.hearing.calls, 0);
  while (server->receive() != "(empty)") {
  }
  serve_until_heard();
  EXPECT_EQ(world.hearing.calls, 1);
}

TEST_F(MappedWaiting, polls_for_a_mapped_end_that_says_it_sleeps) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  EXPECT_FALSE(channel.readable(kServer));
  EXPECT_TRUE(channel.writable(kServer));
  server->sleep_on_data();
  channel.wait_for(kServer, {.data = true});
  serve();
  ASSERT_EQ(world.hearing.calls, 0);
  ASSERT_EQ(client->send("wake up"), "ok");
  serve_until_heard();
  EXPECT_EQ(world.hearing.calls, 1);
  EXPECT_TRUE(channel.readable(kServer));
  server->wake_up();
  EXPECT_EQ(server->receive(), "wake up");
  while (client->send(std::string(400, 'x')) == "ok") {
  }
  EXPECT_FALSE(channel.writable(kClient));
}

TEST_F(MappedWaiting, survives_the_channel_going_away) {
  auto doomed = std::make_unique<Channel>(channel.limits());
  ASSERT_TRUE(doomed->make_segments(world.setup()).has_value());
  auto program = Program::attach(*doomed, kServer, world.status_of(kServer));
  ASSERT_TRUE(program.has_value());
  doomed->wait_for(kClient, {.data = true});
  serve();
  ASSERT_EQ((*program)->send("x"), "ok");
  doomed.reset();
  serve();
  EXPECT_EQ(world.hearing.calls, 0);
}

}  // namespace
}  // namespace flowfs::flow
