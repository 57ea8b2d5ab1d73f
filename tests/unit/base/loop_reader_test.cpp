// SPDX-License-Identifier: BSD-3-Clause
#include <fcntl.h>
#include <sys/inotify.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "loop_fixture.hpp"

namespace flowfs::test {
namespace {

class LoopReader : public LoopTest {
 protected:
  using Buffer = std::array<std::byte, 4096>;

  void read() { reader_->read(*buffer_, buffer_); }
  void put(std::string_view text) const {
    ASSERT_EQ(::write(pipe_.write_end.get(), text.data(), text.size()), std::ssize(text));
  }

  Pipe pipe_ = make_pipe(O_CLOEXEC | O_NONBLOCK);
  std::shared_ptr<Buffer> buffer_ = std::make_shared<Buffer>();
  std::vector<std::int32_t> results_;
  std::optional<Loop::Reader> reader_ =
      loop_->reader(pipe_.read_end.get(), [this](std::int32_t n) { results_.push_back(n); });
};
FLOWFS_LOOP_TEST(LoopReader);

TEST_P(LoopReader, reads_what_is_there) {
  put("hello");
  read();
  ASSERT_TRUE(serve_until([&] { return !results_.empty(); }));
  EXPECT_EQ(results_, std::vector{5});
  EXPECT_EQ(std::memcmp(buffer_->data(), "hello", 5), 0);
}

TEST_P(LoopReader, waits_for_what_is_not) {
  read();
  serve_due();
  EXPECT_TRUE(results_.empty());
  put("later");
  ASSERT_TRUE(serve_until([&] { return !results_.empty(); }));
  EXPECT_EQ(results_, std::vector{5});
}

TEST_P(LoopReader, reads_again_from_its_callback) {
  std::string all;
  reader_ = loop_->reader(pipe_.read_end.get(), [&](std::int32_t n) {
    results_.push_back(n);
    if (n > 0) {
      all.append(reinterpret_cast<const char*>(buffer_->data()), static_cast<std::size_t>(n));
      read();
    }
  });
  read();
  put("one");
  ASSERT_TRUE(serve_until([&] { return all == "one"; }));
  put("two");
  ASSERT_TRUE(serve_until([&] { return all == "onetwo"; }));
  pipe_.write_end.reset();
  ASSERT_TRUE(serve_until([&] { return results_.back() == 0; }));
  EXPECT_EQ(results_, (std::vector{3, 3, 0}));
}

TEST_P(LoopReader, reports_an_error_once) {
  const int number = pipe_.read_end.get();
  pipe_.read_end.reset();
  read();
  ASSERT_EQ(number, pipe_.write_end.get() - 1);  // nobody has taken the number
  ASSERT_TRUE(serve_until([&] { return !results_.empty(); }));
  serve_due();
  EXPECT_EQ(results_, std::vector{-EBADF});
}

TEST_P(LoopReader, reports_the_error_of_the_read_once) {
  reader_ = loop_->reader(pipe_.write_end.get(), [this](std::int32_t n) { results_.push_back(n); });
  pipe_.read_end.reset();  // the poll succeeds, with POLLERR
  read();
  ASSERT_TRUE(serve_until([&] { return !results_.empty(); }));
  serve_due();
  EXPECT_EQ(results_, std::vector{-EBADF});
}

// inotify has, as the FUSE device, a poll but no native asynchronous read.
TEST_P(LoopReader, waits_on_a_file_that_only_polls) {
  std::string folder = ::testing::TempDir() + "flowfs-reader-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(inotify.get(), folder.c_str(), IN_CREATE), 0);
  reader_ = loop_->reader(inotify.get(), [this](std::int32_t n) { results_.push_back(n); });
  read();
  serve_due();
  EXPECT_TRUE(results_.empty());
  const std::string file = folder + "/file";
  EXPECT_TRUE(Fd(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
  ASSERT_TRUE(serve_until([&] { return !results_.empty(); }));
  EXPECT_EQ(results_, std::vector{static_cast<std::int32_t>(sizeof(inotify_event)) + 16});
  ::unlink(file.c_str());
  ::rmdir(folder.c_str());
}

TEST_P(LoopReader, takes_no_data_once_destroyed_and_then_lets_go_of_the_buffer) {
  read();
  loop_->run_once(Micros(0));
  const std::weak_ptr<Buffer> buffer = buffer_;
  buffer_.reset();
  reader_.reset();
  EXPECT_FALSE(buffer.expired());  // the kernel may still write into it
  ASSERT_TRUE(serve_until([&] { return buffer.expired(); }));
  put("still there");
  std::array<char, 32> text{};
  EXPECT_EQ(::read(pipe_.read_end.get(), text.data(), text.size()), 11);
  EXPECT_TRUE(results_.empty());
}

TEST_P(LoopReader, destroyed_before_the_first_round_never_reaches_its_descriptor) {
  read();
  const std::weak_ptr<Buffer> buffer = buffer_;
  buffer_.reset();
  put("kept");
  reader_.reset();
  EXPECT_TRUE(buffer.expired());
  serve_due();
  std::array<char, 32> text{};
  EXPECT_EQ(::read(pipe_.read_end.get(), text.data(), text.size()), 4);
}

TEST_P(LoopReader, may_be_destroyed_in_its_own_callback) {
  reader_ = loop_->reader(pipe_.read_end.get(), [&, text = std::string(100, 'x')](std::int32_t n) {
    reader_.reset();
    results_.push_back(n + static_cast<std::int32_t>(text.size()));
  });
  read();
  put("bye");
  ASSERT_TRUE(serve_until([&] { return !results_.empty(); }));
  EXPECT_EQ(results_, std::vector{103});
}

TEST_P(LoopReader, lets_go_of_the_buffer_when_the_loop_is_destroyed) {
  read();
  loop_->run_once(Micros(0));
  const std::weak_ptr<Buffer> buffer = buffer_;
  buffer_.reset();
  loop_.reset();
  EXPECT_TRUE(buffer.expired());
}

}  // namespace
}  // namespace flowfs::test
