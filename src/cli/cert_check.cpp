// SPDX-License-Identifier: BSD-3-Clause
// Reads a security folder as the daemon does, and says what it would refuse.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "auth/security_folder.hpp"
#include "base/quoted.hpp"
#include "cli/commands.hpp"
#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

struct Checked {
  auth::Side side;
  std::string name;
  std::string subject;
  std::time_t until = 0;
  auth::Verdict verdict = auth::Verdict::refused;
  bool asked = false;  // a policy of the folder wants it to be shown
};

std::string date_of(std::time_t time) {
  std::tm parts{};
  std::array<char, 32> text{};
  const std::size_t length =
      std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&time, &parts));
  return {text.data(), length};
}

class Check {
 public:
  explicit Check(const std::string& path)
      : folder_(path, [this](const auth::Complaint& complaint) { refuse(complaint); }) {}

  void run() {
    const auto trust = folder_.trust(now_);
    authorities_ = trust ? (*trust)->authorities() : 0;
    const auth::Trust nobody;
    for (const auth::Side side : {auth::Side::server, auth::Side::client}) {
      for (const std::string& name : folder_.names(side)) {
        check_name_of(side, name, trust ? **trust : nobody);
      }
    }
  }
  [[nodiscard]] bool good() const {
    return complaints_.empty() && authorities_ > 0 &&
           std::ranges::all_of(checked_,
                               [](const Checked& one) { return one.verdict == auth::Verdict::ok; });
  }

  [[nodiscard]] std::size_t authorities() const { return authorities_; }
  [[nodiscard]] const std::vector<Checked>& checked() const { return checked_; }
  [[nodiscard]] const auth::Complaints& complaints() const { return complaints_; }

 private:
  void refuse(auth::Complaint complaint) { complaints_.push_back(std::move(complaint)); }

  void check_name_of(auth::Side side, const std::string& name, const auth::Trust& trust) {
    const std::string path = fmt::format("{}/{}", folder_.path(), to_string(side));
    if (!is_name(name)) {
      return refuse(
          {path, fmt::format("{} is no name that a flow can have", flowfs::quoted(name))});
    }
    const auto found = folder_.of(side, name, now_);
    if (!found) {
      return;
    }
    if (found->policy) {
      check_policy(fmt::format("{}/{}/enc.toml", path, name), side, *found);
    }
    if (found->credential != nullptr) {
      check_certificate(side, name, *found->credential, trust);
    }
  }

  // Whether no flow would come about with the policy of this side, whatever the other one is like.
  void check_policy(const std::string& path, auth::Side side, const auth::NameSecurity& found) {
    if (covers(found.policy->authenticate, shown_by(side)) && found.credential == nullptr) {
      refuse({path, std::string(to_string(auth::Refusal::no_credential))});
    }
    if (const auto offer = offer_of(*found.policy, found.server_key != nullptr); !offer) {
      refuse({path, std::string(to_string(offer.error()))});
    }
  }

  static auth::Authenticate shown_by(auth::Side side) {
    return side == auth::Side::server ? auth::Authenticate::server : auth::Authenticate::client;
  }

  // Whether either side of the name asks for the certificate of `whose`.
  bool is_asked(auth::Side whose, const std::string& name) {
    return std::ranges::any_of(
        std::array{auth::Side::server, auth::Side::client}, [&](const auth::Side side) {
          const auto found = folder_.of(side, name, now_);
          return found && found->policy && covers(found->policy->authenticate, shown_by(whose));
        });
  }

  // As the other side would see it.
  void check_certificate(auth::Side side, const std::string& name,
                         const auth::Credential& credential, const auth::Trust& trust) {
    const auth::Purpose purpose =
        side == auth::Side::server ? auth::Purpose::server : auth::Purpose::client;
    checked_.push_back(
        {.side = side,
         .name = name,
         .subject = credential.leaf().subject(),
         .until = credential.leaf().valid_until(),
         .verdict = verify_chain(credential.chain(), trust, name, purpose, std::time(nullptr)),
         .asked = is_asked(side, name)});
  }

  auth::SecurityFolder folder_;
  Instant now_ = Clock::now();
  std::size_t authorities_ = 0;
  std::vector<Checked> checked_;
  auth::Complaints complaints_;
};

void print_json_of(const std::string& path, const Check& check) {
  nlohmann::ordered_json certificates = nlohmann::ordered_json::array();
  for (const Checked& one : check.checked()) {
    certificates.push_back({{"side", to_string(one.side)},
                            {"name", one.name},
                            {"subject", one.subject},
                            {"until", date_of(one.until)},
                            {"verdict", info(one.verdict).name},
                            {"words", info(one.verdict).words},
                            {"asked", one.asked}});
  }
  nlohmann::ordered_json refused = nlohmann::ordered_json::array();
  for (const auth::Complaint& complaint : check.complaints()) {
    refused.push_back({{"path", complaint.path}, {"why", complaint.why}});
  }
  print_json({{"folder", path},
              {"authorities", check.authorities()},
              {"certificates", std::move(certificates)},
              {"refused", std::move(refused)}});
}

void print_text_of(const std::string& path, const Check& check) {
  Table table({{"SIDE", Align::left, false},
               {"NAME", Align::left, true},
               {"SUBJECT", Align::left, true},
               {"VALID UNTIL", Align::left, false},
               {"VERDICT", Align::left, false}});
  for (const Checked& one : check.checked()) {
    table.add({std::string(to_string(one.side)), one.name, one.subject, date_of(one.until),
               std::string(info(one.verdict).words)});
  }
  print_text(fmt::format("{}: {} {}\n{}", path, check.authorities(),
                         check.authorities() == 1 ? "authority" : "authorities",
                         table.empty() ? "" : '\n' + table.render(terminal_width(STDOUT_FILENO))));
  for (const Checked& one : check.checked()) {
    if (!one.asked) {
      print_text(
          fmt::format("\nnot asked for: {}/{}\n  no enc.toml of the name has an "
                      "\"authenticate\" that wants this certificate\n",
                      to_string(one.side), one.name));
    }
  }
  for (const auth::Complaint& complaint : check.complaints()) {
    print_text(fmt::format("\nrefused {}\n  {}\n", complaint.path, complaint.why));
  }
}

}  // namespace

int check_security_folder(const Common& common, const std::string& path) {
  Check check(path);
  check.run();
  if (common.json) {
    print_json_of(path, check);
  } else {
    print_text_of(path, check);
  }
  return check.good() ? kDone : kFailed;
}

}  // namespace flowfs::cli
