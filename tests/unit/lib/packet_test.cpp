// SPDX-License-Identifier: BSD-3-Clause
#include "lib/packet.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "lib/file_mode.hpp"

namespace flowfs::lib {
namespace {

iovec piece(std::string& text) { return {.iov_base = text.data(), .iov_len = text.size()}; }

TEST(Pieces, are_put_together_and_taken_apart) {
  std::string one = "one";
  std::string none;
  std::string two = "twenty";
  const std::array<iovec, 3> from = {piece(one), piece(none), piece(two)};
  ASSERT_EQ(total_bytes(from), 9U);
  std::string whole(9, '?');
  gather(from, std::as_writable_bytes(std::span(whole)));
  EXPECT_EQ(whole, "onetwenty");

  std::string first(2, '?');
  std::string last(20, '?');
  const std::array<iovec, 3> to = {piece(first), piece(none), piece(last)};
  scatter(std::as_bytes(std::span(whole)), to);
  EXPECT_EQ(first, "on");
  EXPECT_EQ(last, "etwenty" + std::string(13, '?'));
}

TEST(Pieces, that_overflow_are_longer_than_anything) {
  const std::array<iovec, 2> pieces = {
      iovec{.iov_base = nullptr, .iov_len = 2},
      iovec{.iov_base = nullptr, .iov_len = std::numeric_limits<std::size_t>::max() - 1}};
  EXPECT_EQ(total_bytes(pieces), std::numeric_limits<std::size_t>::max());
}

TEST(Buffers, are_found_by_number_until_they_are_dropped) {
  Buffers buffers;
  const std::uint64_t first = buffers.keep(buffers.make(10));
  const std::uint64_t second = buffers.keep(buffers.make(20));
  EXPECT_NE(first, second);
  EXPECT_EQ(buffers.find(first).size(), 10U);
  EXPECT_EQ(buffers.find(second).size(), 20U);
  EXPECT_TRUE(buffers.find(0).empty());
  const std::byte* memory = buffers.find(first).data();
  buffers.drop(first);
  EXPECT_TRUE(buffers.find(first).empty());
  const std::uint64_t third = buffers.keep(buffers.make(5));
  EXPECT_EQ(buffers.find(third).data(), memory) << "what was given back is used again";
  EXPECT_EQ(buffers.find(third).size(), 5U);
}

TEST(Buffers, grow_where_they_are_too_small) {
  Buffers buffers;
  Buffers::Buffer buffer = buffers.make(100);
  const std::byte* memory = buffer.data.get();
  Buffers::grow(buffer, 50);
  EXPECT_EQ(buffer.data.get(), memory);
  Buffers::grow(buffer, 1'000);
  EXPECT_EQ(buffer.room, 1'000U);
}

}  // namespace
}  // namespace flowfs::lib
