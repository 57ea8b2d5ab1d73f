// SPDX-License-Identifier: BSD-3-Clause
#include "auth/policy_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "base/quoted.hpp"
#include "base/toml.hpp"

namespace flowfs::auth {
namespace {

constexpr std::array<std::string_view, 6> kKeys{"authenticate", "encrypt", "require-pq",
                                                "key-exchange", "cipher",  "digest"};

template <typename Code>
std::string names_of() {
  std::vector<std::string_view> names;
  for (const auto& info : all(Code{})) {
    names.push_back(info.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// One parse: the table goes in, fields of `policy` and problems come out.
class Reader {
 public:
  Reader(Policy& policy, std::vector<PolicyProblem>& problems)
      : policy_(policy), problems_(problems) {}

  void read(const toml::table& root) {
    for (const auto& [key, node] : root) {
      if (std::ranges::find(kKeys, key.str()) == kKeys.end()) {
        problem(key.source().begin.line, std::string(key.str()),
                fmt::format("unknown key; allowed here: {}", fmt::join(kKeys, ", ")));
      }
    }
    read_word(root, "authenticate", policy_.authenticate, parse_authenticate,
              R"("none", "server", "client" or "mutual")");
    read_word(root, "encrypt", policy_.encrypt, parse_encrypt, R"("off", "allow" or "require")");
    read_flag(root, "require-pq", policy_.require_pq);
    read_list(root, "key-exchange", policy_.key_exchanges);
    read_list(root, "cipher", policy_.ciphers);
    read_list(root, "digest", policy_.digests);
    check_require_pq(root);
  }

 private:
  void problem(std::size_t line, std::string key, std::string text) {
    problems_.push_back({line, std::move(key), std::move(text)});
  }
  void problem(const toml::node& node, std::string_view key, std::string text) {
    problem(node.source().begin.line, std::string(key), std::move(text));
  }

  template <typename Value>
  void read_word(const toml::table& root, std::string_view key, Value& value,
                 std::optional<Value> (*parse)(std::string_view), std::string_view allowed) {
    const toml::node* const node = root.get(key);
    if (node == nullptr) {
      return;
    }
    const auto* const text = node->as_string();
    const auto parsed = text == nullptr ? std::nullopt : parse(text->get());
    if (!parsed) {
      problem(*node, key,
              fmt::format("{}; allowed: {}",
                          text == nullptr ? "not a string in quotes"
                                          : quoted(text->get()) + " is not allowed",
                          allowed));
      return;
    }
    value = *parsed;
  }

  void read_flag(const toml::table& root, std::string_view key, bool& value) {
    const toml::node* const node = root.get(key);
    if (node == nullptr) {
      return;
    }
    if (const auto* const flag = node->as_boolean()) {
      value = flag->get();
    } else {
      problem(*node, key, "neither true nor false; allowed: true or false");
    }
  }

  template <typename Code>
  void read_list(const toml::table& root, std::string_view key, std::vector<Code>& codes) {
    const toml::node* const node = root.get(key);
    if (node == nullptr) {
      return;
    }
    const toml::array* const list = node->as_array();
    if (list == nullptr || list->empty()) {
      problem(*node, key,
              fmt::format("not a list of names; allowed: at least one of {}", names_of<Code>()));
      return;
    }
    codes.clear();
    for (const toml::node& entry : *list) {
      read_name(entry, key, codes);
    }
  }

  template <typename Code>
  void read_name(const toml::node& entry, std::string_view key, std::vector<Code>& codes) {
    const auto* const text = entry.as_string();
    const auto* const known = text == nullptr ? nullptr : find_name<Code>(text->get());
    if (known == nullptr) {
      problem(entry, key,
              fmt::format("{}; allowed: {}",
                          text == nullptr ? "not a string in quotes"
                                          : quoted(text->get()) + " is not known",
                          names_of<Code>()));
      return;
    }
    if (std::ranges::find(codes, known->code) != codes.end()) {
      problem(entry, key, fmt::format("{} stands there twice", quoted(known->name)));
      return;
    }
    codes.push_back(known->code);
  }

  // A policy that could never let a flow through is a mistake of who wrote it.
  void check_require_pq(const toml::table& root) {
    if (!policy_.require_pq) {
      return;
    }
    const toml::node& node = *root.get("require-pq");
    if (policy_.encrypt == Encrypt::off && root.contains("encrypt")) {
      problem(node, "require-pq", R"(true contradicts encrypt = "off")");
    }
    if (std::ranges::none_of(policy_.key_exchanges,
                             [](KeyExchange code) { return find(code)->post_quantum; })) {
      problem(node, "require-pq", "true, and key-exchange has none that is post-quantum");
    }
  }

  Policy& policy_;
  std::vector<PolicyProblem>& problems_;
};

}  // namespace

std::string to_string(const PolicyProblem& problem, std::string_view file) {
  return problem.key.empty()
             ? fmt::format("{}:{}: {}", file, problem.line, problem.text)
             : fmt::format("{}:{}: {}: {}", file, problem.line, problem.key, problem.text);
}

std::expected<Policy, std::vector<PolicyProblem>> parse_policy(std::string_view text) {
  std::vector<PolicyProblem> problems;
  if (text.size() > kLongestPolicy) {
    problems.push_back(
        {1, "", fmt::format("longer than {} bytes, which is allowed", kLongestPolicy)});
    return std::unexpected(std::move(problems));
  }
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    problems.push_back({error.source().begin.line, "", std::string(error.description())});
    return std::unexpected(std::move(problems));
  }
  Policy policy;
  Reader(policy, problems).read(parsed.table());
  if (!problems.empty()) {
    std::ranges::sort(problems, {}, [](const PolicyProblem& problem) {
      return std::tie(problem.line, problem.key, problem.text);
    });
    return std::unexpected(std::move(problems));
  }
  return policy;
}

}  // namespace flowfs::auth
