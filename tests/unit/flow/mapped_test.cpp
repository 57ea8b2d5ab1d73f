// SPDX-License-Identifier: BSD-3-Clause
// Flows with one end mapped or both: what attach and detach promise.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "mapped_fixture.hpp"

namespace flowfs::flow {
namespace {

using test::kClient;
using test::kServer;
using test::Mapped;
using test::read;
using test::write;

TEST_F(Mapped, making_segments_changes_nothing_else) {
  EXPECT_EQ(write(channel, kClient, "as before"), "ok");
  EXPECT_EQ(read(channel, kServer), "as before");
  EXPECT_FALSE(channel.is_mapped(kClient));
  const auto view = channel.segment(kClient);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->bytes, *Channel::segment_bytes(channel.limits(), 4'096));
  EXPECT_TRUE(channel.make_segments(world.setup()).has_value());
  EXPECT_EQ(channel.segment(kClient)->generation, view->generation);
}

TEST_F(Mapped, attach_tells_where_to_begin_and_who_is_there) {
  const auto program = attach(kServer);
  const flowfs_attach& answer = program->answer();
  EXPECT_EQ(answer.version, FLOWFS_LAYOUT_VERSION);
  EXPECT_EQ(answer.flow, 22U);
  EXPECT_EQ(answer.peer_flow, 11U);
  EXPECT_EQ(answer.uid, 2'000U);
  EXPECT_EQ(program->slot().flow, 22U);
  EXPECT_EQ(program->slot().peer_flow, 11U);
  EXPECT_EQ(program->slot().peer_uid, 1'000U);
  EXPECT_EQ(program->slot().peer_generation, answer.peer_generation);
  EXPECT_EQ(program->slot().closed_at, FLOWFS_LANE_OPEN);
  EXPECT_EQ(pool::check_segment(program->memory(), pool::Geometry::from(answer).value(), 22,
                                pool::Generation{answer.generation}),
            pool::AttachOutcome::ok);
}

TEST_F(Mapped, attach_is_exclusive_and_stops_the_file_side) {
  const auto program = attach(kServer);
  EXPECT_EQ(attach_error(kServer), EBUSY);
  EXPECT_EQ(write(channel, kServer, "x"), "(busy)");
  EXPECT_EQ(read(channel, kServer), "(busy)");
  EXPECT_EQ(write(channel, kClient, "x"), "ok");
}

TEST_F(Mapped, talks_to_a_file_without_either_knowing) {
  const auto program = attach(kServer);
  const std::string large(4'900, 'L');
  EXPECT_EQ(write(channel, kClient, "question"), "ok");
  EXPECT_EQ(write(channel, kClient, large), "ok");
  EXPECT_EQ(program->receive(), "question");
  EXPECT_EQ(program->receive(), large);
  EXPECT_EQ(program->receive(), "(empty)");
  EXPECT_EQ(program->send("answer"), "ok");
  EXPECT_EQ(program->send(large), "ok");
  EXPECT_EQ(read(channel, kClient), "answer");
  EXPECT_EQ(read(channel, kClient), large);
  EXPECT_EQ(read(channel, kClient), "(empty)");
  EXPECT_EQ(channel.stats(kClient).messages, 2U);
  EXPECT_EQ(channel.stats(kServer).messages, 2U);
  EXPECT_EQ(channel.stats(kServer).bytes, 4'906U);
}

TEST_F(Mapped, both_ends_need_no_daemon) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  EXPECT_EQ(client->send("direct"), "ok");
  EXPECT_EQ(server->receive(), "direct");
  EXPECT_EQ(server->send("back"), "ok");
  EXPECT_EQ(client->receive(), "back");
  EXPECT_EQ(channel.queued_bytes(kClient), 0U);
}

TEST_F(Mapped, attach_takes_over_what_was_queued_for_it_whole) {
  ASSERT_EQ(write(channel, kClient, "begun and left"), "ok");
  ASSERT_EQ(write(channel, kClient, "second"), "ok");
  ASSERT_EQ(channel.front(kServer).outcome, ReadOutcome::ok);
  channel.consume(kServer, 5);
  const auto program = attach(kServer);
  EXPECT_EQ(program->receive(), "begun and left");
  EXPECT_EQ(program->receive(), "second");
  EXPECT_EQ(channel.queued_bytes(kClient), 0U);
}

TEST_F(Mapped, attach_puts_what_it_sent_before_first) {
  ASSERT_EQ(write(channel, kServer, "as a file, read in part"), "ok");
  ASSERT_EQ(write(channel, kServer, "as a file"), "ok");
  ASSERT_EQ(channel.front(kClient).outcome, ReadOutcome::ok);
  channel.consume(kClient, 11);
  const auto program = attach(kServer);
  EXPECT_EQ(program->send("mapped"), "ok");
  EXPECT_TRUE(channel.front(kClient).begun);
  EXPECT_EQ(read(channel, kClient), "read in part");
  EXPECT_EQ(read(channel, kClient), "as a file");
  EXPECT_EQ(read(channel, kClient), "mapped");
}

TEST_F(Mapped, the_second_attach_gets_what_the_first_sent_to_the_file) {
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("begun and left"), "ok");
  ASSERT_EQ(server->send("next"), "ok");
  ASSERT_EQ(channel.front(kClient).outcome, ReadOutcome::ok);
  channel.consume(kClient, 5);
  const auto client = attach(kClient);
  EXPECT_EQ(client->receive(), "begun and left");
  EXPECT_EQ(client->receive(), "next");
  EXPECT_EQ(client->send("reply"), "ok");
  EXPECT_EQ(server->receive(), "reply");
}

TEST_F(Mapped, attach_waits_until_its_queue_is_in_its_lane) {
  const std::string message(400, 'x');
  int sent = 0;
  while (write(channel, kClient, message) == "ok") {
    ++sent;
  }
  ASSERT_EQ(sent, 50) << "depth";
  EXPECT_EQ(attach_error(kClient), EAGAIN) << "a lane of 4 KiB does not hold it";
  EXPECT_FALSE(channel.is_mapped(kClient));
  const auto server = attach(kServer);
  EXPECT_EQ(attach_error(kClient), EAGAIN) << "some of it waits for room";
  EXPECT_EQ(write(channel, kClient, "later"), "(full)");
  for (int i = 0; i < sent; ++i) {
    ASSERT_EQ(server->receive(), message) << i;
    world.loop->run_once(Micros{1'000});
    if (channel.queued_bytes(kClient) == 0) {
      break;
    }
  }
  EXPECT_EQ(channel.queued_bytes(kClient), 0U);
  const auto client = attach(kClient);
  std::string received;
  int rest = 0;
  while ((received = server->receive()) == message) {
    ++rest;
  }
  EXPECT_EQ(received, "(empty)");
  EXPECT_GT(rest, 0);
  EXPECT_EQ(client->send("mapped"), "ok");
  EXPECT_EQ(server->receive(), "mapped");
}

TEST_F(Mapped, detach_leaves_what_was_committed_to_the_file_reader) {
  const auto program = attach(kServer);
  ASSERT_EQ(program->send("one, in part"), "ok");
  ASSERT_EQ(program->send(std::string(4'000, '2')), "ok");
  ASSERT_EQ(channel.front(kClient).outcome, ReadOutcome::ok);
  channel.consume(kClient, 5);
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(program->send("by a ghost"), "ok") << "its mapping is still there";
  EXPECT_EQ(write(channel, kServer, "as a file"), "ok");
  EXPECT_TRUE(channel.front(kClient).begun);
  EXPECT_EQ(read(channel, kClient), "in part");
  EXPECT_EQ(read(channel, kClient), std::string(4'000, '2'));
  EXPECT_EQ(read(channel, kClient), "as a file");
  EXPECT_EQ(read(channel, kClient), "(empty)");
}

TEST_F(Mapped, detach_gives_back_what_it_had_not_read) {
  auto program = attach(kServer);
  ASSERT_EQ(write(channel, kClient, "read"), "ok");
  ASSERT_EQ(write(channel, kClient, "unread"), "ok");
  ASSERT_EQ(write(channel, kClient, std::string(4'000, 'u')), "ok");
  ASSERT_EQ(program->receive(), "read");
  program->publish();
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(write(channel, kClient, "afterwards"), "ok");
  EXPECT_EQ(read(channel, kServer), "unread");
  EXPECT_EQ(read(channel, kServer), std::string(4'000, 'u'));
  EXPECT_EQ(read(channel, kServer), "afterwards");
}

TEST_F(Mapped, a_new_attach_gets_a_new_segment) {
  auto program = attach(kServer);
  const std::uint64_t first = program->answer().generation;
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_FALSE(channel.segment(kServer).has_value());
  ASSERT_TRUE(channel.make_segments(world.setup()).has_value());
  auto again = attach(kServer);
  EXPECT_EQ(again->answer().generation, first + 1);
  ASSERT_EQ(write(channel, kClient, "hello"), "ok");
  EXPECT_EQ(program->send("by a ghost"), "ok");
  EXPECT_EQ(read(channel, kClient), "(empty)") << "nobody looks at the old segment";
  EXPECT_EQ(again->receive(), "hello");
}

TEST_F(Mapped, a_mapped_peer_follows_to_the_new_segment) {
  const auto client = attach(kClient);
  auto server = attach(kServer);
  ASSERT_EQ(server->send("in the old"), "ok");
  ASSERT_EQ(client->send("unread by the mapped server"), "ok");
  ASSERT_TRUE(channel.detach(kServer).has_value());
  EXPECT_EQ(read(channel, kServer), "unread by the mapped server");
  EXPECT_EQ(write(channel, kServer, "in the new"), "ok");
  EXPECT_EQ(attach_error(kServer), EAGAIN) << "the client still reads the old one";
  EXPECT_EQ(client->receive(), "in the old");
  EXPECT_EQ(client->receive(), "in the new");
  EXPECT_EQ(client->send("to the file"), "ok");
  EXPECT_EQ(read(channel, kServer), "to the file");
  server = attach(kServer);
  EXPECT_EQ(server->send("mapped again"), "ok");
  EXPECT_EQ(client->receive(), "mapped again");
  EXPECT_EQ(client->send("and back"), "ok");
  EXPECT_EQ(server->receive(), "and back");
}

TEST_F(Mapped, a_peer_that_detaches_in_between_gets_both_segments) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("in the old"), "ok");
  ASSERT_TRUE(channel.detach(kServer).has_value());
  ASSERT_EQ(write(channel, kServer, "in the new"), "ok");
  ASSERT_TRUE(channel.detach(kClient).has_value());
  ASSERT_EQ(write(channel, kServer, "in the queue"), "ok");
  EXPECT_EQ(read(channel, kClient), "in the old");
  EXPECT_EQ(read(channel, kClient), "in the new");
  EXPECT_EQ(read(channel, kClient), "in the queue");
}

TEST_F(Mapped, what_a_closed_program_sent_is_read_before_the_end) {
  const auto program = attach(kServer);
  ASSERT_EQ(program->send("last"), "ok");
  channel.close(kServer);
  EXPECT_EQ(program->send("too late"), "ok");
  EXPECT_EQ(program->slot().flow, 0U) << "its slot says that it is gone";
  EXPECT_EQ(read(channel, kClient), "last");
  EXPECT_EQ(read(channel, kClient), "(end)");
  EXPECT_EQ(write(channel, kClient, "x"), "(closed)");
}

TEST_F(Mapped, a_mapped_peer_reads_to_where_the_other_closed) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("last"), "ok");
  channel.close(kServer);
  ASSERT_EQ(server->send("too late"), "ok");
  EXPECT_EQ(client->send("x"), "(closed)");
  EXPECT_EQ(client->receive(), "last");
  EXPECT_EQ(client->receive(), "(end)") << "the ghost's record lies behind it";
}

TEST_F(Mapped, a_file_that_closes_ends_the_lane_behind_its_backlog) {
  const std::string message(400, 'x');
  int sent = 0;
  while (write(channel, kClient, message) == "ok") {
    ++sent;
  }
  const auto server = attach(kServer);
  ASSERT_GT(channel.queued_bytes(kClient), 0U);
  channel.close(kClient);
  EXPECT_EQ(server->send("x"), "(closed)");
  // close() drops what nobody reads, not what was sent.
  for (int i = 0; i < sent; ++i) {
    std::string got = server->receive();
    while (got == "(empty)") {
      world.loop->run_once(Micros{10'000});
      got = server->receive();
    }
    ASSERT_EQ(got, message) << i;
  }
  EXPECT_EQ(server->receive(), "(end)");
}

TEST_F(Mapped, a_file_reads_what_a_program_left_that_closed_while_both_were_mapped) {
  const auto client = attach(kClient);
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("last"), "ok");
  channel.close(kServer);
  ASSERT_TRUE(channel.detach(kClient).has_value());
  EXPECT_EQ(read(channel, kClient), "last");
  EXPECT_EQ(read(channel, kClient), "(end)");
  ASSERT_TRUE(channel.make_segments(world.setup()).has_value());
  const auto again = attach(kClient);
  EXPECT_EQ(again->receive(), "(end)");
  EXPECT_EQ(again->send("x"), "(closed)");
  channel.close(kClient);
  EXPECT_TRUE(channel.is_closed(kClient));
}

TEST_F(Mapped, half_closes_reach_both_kinds_of_end) {
  const auto server = attach(kServer);
  ASSERT_EQ(write(channel, kClient, "rest"), "ok");
  channel.shutdown_write(kClient);
  EXPECT_EQ(server->receive(), "rest");
  EXPECT_EQ(server->receive(), "(end)");
  EXPECT_EQ(server->send("still possible"), "ok");
  EXPECT_EQ(read(channel, kClient), "still possible");
  channel.shutdown_read(kClient);
  EXPECT_EQ(server->send("no longer"), "(closed)");
}

TEST_F(Mapped, a_program_may_half_close_without_the_daemon) {
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("rest"), "ok");
  server->shutdown(FLOWFS_SHUT_SEND);
  EXPECT_EQ(read(channel, kClient), "rest");
  EXPECT_EQ(read(channel, kClient), "(end)");
  EXPECT_EQ(write(channel, kClient, "still"), "ok");
  EXPECT_EQ(server->receive(), "still");
  server->shutdown(FLOWFS_SHUT_RECEIVE);
  EXPECT_EQ(write(channel, kClient, "x"), "(closed)");
}

TEST_F(Mapped, ctl_shuts_a_mapped_end_down_from_outside) {
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("rest"), "ok");
  channel.shutdown_write(kServer);
  EXPECT_EQ(server->send("refused"), "(closed)");
  EXPECT_EQ(read(channel, kClient), "rest");
  EXPECT_EQ(read(channel, kClient), "(end)");
  channel.shutdown_read(kServer);
  EXPECT_EQ(server->receive(), "(end)");
  EXPECT_EQ(write(channel, kClient, "x"), "(closed)");
}

TEST_F(Mapped, an_end_that_is_mapped_later_hears_that_its_mapped_peer_sends_no_more) {
  const auto server = attach(kServer);
  ASSERT_EQ(server->send("rest"), "ok");
  channel.shutdown_write(kServer);
  const auto client = attach(kClient);
  EXPECT_EQ(client->receive(), "rest");
  EXPECT_EQ(client->receive(), "(end)");
  EXPECT_EQ(client->send("still possible"), "ok");
  EXPECT_EQ(server->receive(), "still possible");
}

TEST_F(Mapped, gives_the_pages_of_a_lost_segment_back) {
  const auto server = attach(kServer);
  ASSERT_EQ(server->send(std::string(5'000, 'x')), "ok");
  const Fd fd(::fcntl(channel.segment(kServer)->fd, F_DUPFD_CLOEXEC, 0));
  struct stat status{};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  ASSERT_GT(status.st_blocks, 0);
  ASSERT_TRUE(channel.detach(kServer).has_value());
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_EQ(status.st_blocks, 0) << "the program still maps it";
  EXPECT_EQ(server->memory()[0], std::byte{0});
}

TEST_F(Mapped, counts_slots_back_to_none) {
  {
    const auto server = attach(kServer);
  }
  EXPECT_EQ(world.status[0].in_use(), 1U);
  channel.close(kClient);
  channel.close(kServer);
  EXPECT_EQ(world.status[0].in_use(), 0U);
  EXPECT_EQ(world.status[1].in_use(), 0U);
}

}  // namespace
}  // namespace flowfs::flow
