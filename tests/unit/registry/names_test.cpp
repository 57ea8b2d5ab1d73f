// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.hpp"

namespace flowfs::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NamesTest : public RegistryTest {
 protected:
  std::vector<std::string> listing() {
    std::vector<std::string> texts;
    for (const Registry::Entry& entry : registry_.list()) {
      texts.push_back(std::string(entry.name) + (entry.is_alias ? "@" : "/"));
    }
    return texts;
  }

  NameId alias(std::string_view text, std::string_view target = "log") {
    const Result<NameId> id = registry_.create_alias(text, target, opener(kAlice));
    EXPECT_EQ(error_of(id), 0) << text;
    return id.value_or(NameId{});
  }
};

TEST_F(NamesTest, accepts_the_characters_of_the_contract_only) {
  EXPECT_TRUE(Registry::valid_name("a"));
  EXPECT_TRUE(Registry::valid_name("AZaz09._:@-"));
  EXPECT_TRUE(Registry::valid_name("-"));
  EXPECT_TRUE(Registry::valid_name(std::string(255, 'x')));
  EXPECT_FALSE(Registry::valid_name(""));
  EXPECT_FALSE(Registry::valid_name(".hidden"));
  EXPECT_FALSE(Registry::valid_name(std::string(256, 'x')));
  const std::string allowed = "._:@-";
  for (int code = 0; code < 256; ++code) {
    const char character = static_cast<char>(code);
    const bool letter = (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
    const bool digit = code >= '0' && code <= '9';
    const bool expected = letter || digit || allowed.find(character) != std::string::npos;
    EXPECT_EQ(Registry::valid_name(std::string("x") + character), expected) << code;
  }
}

TEST_F(NamesTest, creates_a_name_with_its_owner_and_settings) {
  NameSettings settings;
  settings.backlog = 7;
  const NameId id = name("log", settings);
  const Name* found = registry_.find_name("log");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found, registry_.find_name(id));
  EXPECT_EQ(found->id, id);
  EXPECT_EQ(found->name, "log");
  EXPECT_EQ(found->owner, kOwner);
  EXPECT_EQ(found->settings.backlog, 7U);
  EXPECT_EQ(registry_.find_alias("log"), nullptr);
  EXPECT_EQ(users_.used(kOwner, Resource::names), 1U);
  EXPECT_THAT(events(), ElementsAre("name-created names/log 1000"));
}

TEST_F(NamesTest, creating_a_name_fails_with_the_errno_of_the_contract) {
  EXPECT_EQ(error_of(registry_.create_name("a/b", opener(kOwner))), EINVAL);
  EXPECT_EQ(error_of(registry_.create_name("", opener(kOwner))), EINVAL);
  EXPECT_EQ(error_of(registry_.create_name(std::string(256, 'x'), opener(kOwner))), ENAMETOOLONG);
  name("log");
  alias("link");
  EXPECT_EQ(error_of(registry_.create_name("log", opener(kAlice))), EEXIST);
  EXPECT_EQ(error_of(registry_.create_name("link", opener(kAlice))), EEXIST);
  users_.set_limit(kBob, Resource::names, 0);
  EXPECT_EQ(error_of(registry_.create_name("more", opener(kBob))), EDQUOT);
  Users::Config config = Users::Config::defaults();
  config.total[static_cast<std::size_t>(Resource::names)] = 2;
  users_.reconfigure(config);
  EXPECT_EQ(error_of(registry_.create_name("more", opener(kAlice))), ENFILE);
  EXPECT_THAT(listing(), ElementsAre("link@", "log/"));
}

TEST_F(NamesTest, creates_an_alias_with_any_target) {
  const NameId id = alias("link", "../elsewhere/\nodd");
  const Alias* found = registry_.find_alias("link");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found, registry_.find_alias(id));
  EXPECT_EQ(found->target, "../elsewhere/\nodd");
  EXPECT_EQ(found->owner, kAlice);
  EXPECT_EQ(registry_.find_name("link"), nullptr);
  EXPECT_EQ(registry_.find_name(id), nullptr);
  EXPECT_THAT(events(), ElementsAre("alias-created names/link 1001"));
}

TEST_F(NamesTest, creating_an_alias_fails_with_the_errno_of_the_contract) {
  const auto error = [this](std::string_view text, std::string_view target) {
    return error_of(registry_.create_alias(text, target, opener(kBob)));
  };
  EXPECT_EQ(error(".x", "log"), EINVAL);
  EXPECT_EQ(error(std::string(256, 'x'), "log"), ENAMETOOLONG);
  EXPECT_EQ(error("x", ""), EINVAL);
  EXPECT_EQ(error("x", std::string(4096, 'x')), ENAMETOOLONG);
  EXPECT_EQ(error("x", std::string(4095, 'x')), 0);
  EXPECT_EQ(error("x", "log"), EEXIST);
  users_.set_limit(kBob, Resource::names, 1);
  EXPECT_EQ(error("y", "log"), EDQUOT);
}

TEST_F(NamesTest, lists_names_and_aliases_in_order) {
  name("b");
  alias("a");
  name("c");
  EXPECT_THAT(listing(), ElementsAre("a@", "b/", "c/"));
}

TEST_F(NamesTest, removing_gives_the_charge_back) {
  name("log");
  alias("link");
  forget_effects();
  EXPECT_TRUE(registry_.remove_name("log", 0));
  EXPECT_TRUE(registry_.remove_alias("link", kAlice));
  EXPECT_EQ(users_.total(Resource::names), 0U);
  EXPECT_THAT(listing(), IsEmpty());
  EXPECT_THAT(events(), ElementsAre("name-removed names/log 0", "alias-removed names/link 1001"));
}

TEST_F(NamesTest, removing_the_wrong_kind_or_nothing_fails) {
  name("log");
  alias("link");
  EXPECT_EQ(error_of(registry_.remove_name("nothing", 0)), ENOENT);
  EXPECT_EQ(error_of(registry_.remove_alias("nothing", 0)), ENOENT);
  EXPECT_EQ(error_of(registry_.remove_name("link", 0)), ENOTDIR);
  EXPECT_EQ(error_of(registry_.remove_alias("log", 0)), EISDIR);
}

TEST_F(NamesTest, ids_are_never_reused) {
  const NameId first = name("log");
  EXPECT_TRUE(registry_.remove_name("log", 0));
  const NameId second = name("log");
  EXPECT_NE(first, second);
  EXPECT_EQ(registry_.find_name(first), nullptr);
}

TEST_F(NamesTest, is_busy_while_a_server_waits) {
  const NameId id = name("log");
  const FlowId server = accept(id);
  EXPECT_EQ(error_of(registry_.remove_name("log", 0)), EBUSY);
  registry_.release(server);
  EXPECT_TRUE(registry_.remove_name("log", 0));
}

TEST_F(NamesTest, is_busy_until_both_ends_of_its_flows_are_gone) {
  const NameId id = name("log");
  const FlowId server = accept(id);
  const FlowId client = dial(id);
  EXPECT_EQ(error_of(registry_.remove_name("log", 0)), EBUSY);
  registry_.release(server);
  EXPECT_EQ(error_of(registry_.remove_name("log", 0)), EBUSY);
  registry_.close(client, ECONNABORTED);  // deallocated ends do not hold it
  EXPECT_TRUE(registry_.remove_name("log", 0));
  EXPECT_EQ(state(client), FlowState::deallocated);
}

TEST_F(NamesTest, removing_fails_the_clients_that_wait) {
  NameSettings settings;
  settings.backlog = 1;
  const NameId id = name("log", settings);
  const FlowId admitted = dial(id);
  const FlowId overflowing = dial(id, kBob);
  forget_effects();
  EXPECT_TRUE(registry_.remove_name("log", 0));
  EXPECT_THAT(effects(), ElementsAre("failed 1 2", "failed 2 2"));
  for (const FlowId flow : {admitted, overflowing}) {
    EXPECT_EQ(state(flow), FlowState::deallocated);
    EXPECT_EQ(registry_.find_end(flow)->error, ENOENT);
  }
  EXPECT_EQ(registry_.next_deadline(), kNever);
}

TEST_F(NamesTest, renames_with_everything_that_belongs_to_it) {
  const NameId id = name("old");
  const FlowId server = accept(id);
  forget_effects();
  EXPECT_TRUE(registry_.rename("old", "new", false, kAlice));
  EXPECT_EQ(registry_.find_name("old"), nullptr);
  ASSERT_NE(registry_.find_name("new"), nullptr);
  EXPECT_EQ(registry_.find_name("new")->id, id);
  EXPECT_EQ(registry_.find_name(id)->name, "new");
  EXPECT_THAT(events(), ElementsAre("name-renamed names/old 1001 to=new"));
  EXPECT_EQ(peer(dial(id)), server);
  EXPECT_EQ(users_.used(kOwner, Resource::names), 1U);
}

TEST_F(NamesTest, renaming_fails_with_the_errno_of_the_contract) {
  name("log");
  name("other");
  alias("link");
  EXPECT_EQ(error_of(registry_.rename("log", "a b", false, 0)), EINVAL);
  EXPECT_EQ(error_of(registry_.rename("log", std::string(256, 'x'), false, 0)), ENAMETOOLONG);
  EXPECT_EQ(error_of(registry_.rename("nothing", "new", false, 0)), ENOENT);
  EXPECT_EQ(error_of(registry_.rename("log", "other", false, 0)), EEXIST);
  EXPECT_EQ(error_of(registry_.rename("log", "link", false, 0)), EEXIST);
  EXPECT_EQ(error_of(registry_.rename("link", "log", false, 0)), EEXIST);
  EXPECT_THAT(listing(), ElementsAre("link@", "log/", "other/"));
}

TEST_F(NamesTest, renaming_onto_itself_does_nothing) {
  name("log");
  forget_effects();
  EXPECT_TRUE(registry_.rename("log", "log", false, 0));
  EXPECT_THAT(events(), IsEmpty());
}

TEST_F(NamesTest, an_alias_may_replace_an_alias) {
  alias("one", "to-one");
  alias("two", "to-two");
  EXPECT_EQ(error_of(registry_.rename("one", "two", true, 0)), EEXIST);
  forget_effects();
  EXPECT_TRUE(registry_.rename("one", "two", false, 0));
  EXPECT_THAT(listing(), ElementsAre("two@"));
  EXPECT_EQ(registry_.find_alias("two")->target, "to-one");
  EXPECT_EQ(users_.used(kAlice, Resource::names), 1U);
  EXPECT_THAT(events(),
              ElementsAre("alias-removed names/two 0", "name-renamed names/one 0 to=two"));
}

TEST_F(NamesTest, exchanges_names_under_their_clients) {
  const NameId one = name("one");
  const NameId two = name("two");
  const FlowId server_of_two = accept(two);
  forget_effects();
  EXPECT_TRUE(registry_.exchange("one", "two", kAlice));
  EXPECT_THAT(events(), ElementsAre("name-renamed names/one 1001 exchanged=two"));
  EXPECT_EQ(registry_.find_name("one")->id, two);
  EXPECT_EQ(registry_.find_name("two")->id, one);
  EXPECT_EQ(peer(dial(registry_.find_name("one")->id)), server_of_two);
}

TEST_F(NamesTest, exchanges_a_name_with_an_alias) {
  const NameId id = name("log");
  alias("link", "elsewhere");
  EXPECT_TRUE(registry_.exchange("log", "link", 0));
  EXPECT_EQ(registry_.find_name("link")->id, id);
  EXPECT_EQ(registry_.find_alias("log")->target, "elsewhere");
}

TEST_F(NamesTest, exchanging_needs_both) {
  name("log");
  EXPECT_EQ(error_of(registry_.exchange("log", "nothing", 0)), ENOENT);
  EXPECT_EQ(error_of(registry_.exchange("nothing", "log", 0)), ENOENT);
  EXPECT_TRUE(registry_.exchange("log", "log", 0));
}

TEST_F(NamesTest, arguments_may_look_into_the_names_themselves) {
  const NameId one = name("a-name-that-is-too-long-to-be-stored-inline");
  const NameId two = name("b-name-that-is-too-long-to-be-stored-inline");
  EXPECT_TRUE(
      registry_.exchange(registry_.find_name(one)->name, registry_.find_name(two)->name, 0));
  EXPECT_EQ(registry_.find_name(one)->name.front(), 'b');
  EXPECT_EQ(registry_.find_name(two)->name.front(), 'a');
  alias("c-alias-that-is-too-long-to-be-stored-inline");
  alias("d-alias-that-is-too-long-to-be-stored-inline");
  EXPECT_TRUE(registry_.rename(registry_.list()[2].name, registry_.list()[3].name, false, 0));
  EXPECT_EQ(registry_.list().back().name.front(), 'd');
  EXPECT_TRUE(registry_.remove_name(registry_.find_name(one)->name, 0));
}

TEST_F(NamesTest, settings_and_stats_need_a_name) {
  EXPECT_DEATH(registry_.stats(NameId{99}), "record");
  EXPECT_DEATH(registry_.set_settings(NameId{99}, {}), "record");
  const NameId id = name("log");
  registry_.stats(id).bytes_to_client = 5;
  EXPECT_EQ(registry_.find_name("log")->stats.bytes_to_client, 5U);
}

}  // namespace
}  // namespace flowfs::registry
