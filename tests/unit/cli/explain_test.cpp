// SPDX-License-Identifier: BSD-3-Clause
#include "cli/explain.hpp"

#include <gmock/gmock.h>

#include <cerrno>

namespace flowfs::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Explain, names_object_error_and_remedy) {
  EXPECT_EQ(
      explain(Deed::dial, "names/log", ETIMEDOUT),
      "cannot dial names/log: Connection timed out (ETIMEDOUT); no server accepted within its "
      "dial_timeout; is the server running?");
}

TEST(Explain, says_no_more_than_it_knows) {
  EXPECT_EQ(explain(Deed::read_tree, "/run/flowfs", EIO),
            "cannot read /run/flowfs: Input/output error (EIO)");
}

TEST(Explain, tells_a_dead_daemon_whatever_was_done) {
  for (const Deed deed : {Deed::read_tree, Deed::dial, Deed::accept, Deed::make_name,
                          Deed::remove_name, Deed::transfer, Deed::identify}) {
    for (const int error : {ENOTCONN, ECONNABORTED}) {
      EXPECT_THAT(explain(deed, "it", error), HasSubstr("start flowfsd again"));
    }
  }
}

TEST(Explain, gives_the_same_errno_its_meaning_in_the_place) {
  EXPECT_THAT(advice(Deed::dial, ENOENT), HasSubstr("no such name"));
  EXPECT_THAT(advice(Deed::make_name, ENOENT), HasSubstr("mounted"));
  EXPECT_THAT(explain(Deed::identify, "descriptor 3", ENOTTY), HasSubstr("not an end of a flow"));
}

TEST(Explain, has_every_error_of_opening_dial_and_accept) {
  for (const int error : {ENOENT, EACCES, ECONNREFUSED, ETIMEDOUT, EAGAIN, EDQUOT, ENFILE}) {
    EXPECT_THAT(advice(Deed::dial, error), Not("")) << error;
  }
  for (const int error : {ENOENT, EACCES, EDQUOT, ENFILE}) {
    EXPECT_THAT(advice(Deed::accept, error), Not("")) << error;
  }
}

TEST(Explain, has_every_error_of_joining_a_bus) {
  for (const int error : {ENOENT, EACCES, EADDRNOTAVAIL, EBUSY, EDQUOT, ENFILE}) {
    EXPECT_THAT(advice(Deed::bus, error), Not("")) << error;
  }
  EXPECT_THAT(advice(Deed::bus, ENOTCONN), HasSubstr("start flowfsd again"));
}

TEST(Explain, shows_the_number_of_an_errno_that_has_no_name) {
  EXPECT_EQ(errno_in_words(4000), "unknown error (errno 4000)");
}

}  // namespace
}  // namespace flowfs::cli
