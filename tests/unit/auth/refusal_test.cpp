// SPDX-License-Identifier: BSD-3-Clause
#include "auth/refusal.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <set>
#include <string_view>

namespace flowfs::auth {
namespace {

TEST(Refusal, has_an_errno_of_keys_and_words_of_its_own_for_each_reason) {
  std::set<std::string_view> words;
  for (const RefusalInfo& info : all_refusals()) {
    EXPECT_THAT(info.error, testing::AnyOf(EKEYREJECTED, ENOKEY, EKEYEXPIRED, EKEYREVOKED));
    EXPECT_TRUE(words.insert(info.words).second) << info.words;
    if (info.reason != Refusal::bad_certificate) {
      EXPECT_EQ(Refused(info.reason).error(), info.error);
      EXPECT_EQ(Refused(info.reason).words(), info.words);
    }
  }
}

TEST(Refusal, of_a_certificate_says_what_is_wrong_with_it) {
  EXPECT_EQ(Refused(Verdict::expired).error(), EKEYEXPIRED);
  EXPECT_EQ(Refused(Verdict::revoked).error(), EKEYREVOKED);
  EXPECT_EQ(Refused(Verdict::untrusted).error(), EKEYREJECTED);
  EXPECT_EQ(Refused(Verdict::expired).words(), info(Verdict::expired).words);
}

}  // namespace
}  // namespace flowfs::auth
