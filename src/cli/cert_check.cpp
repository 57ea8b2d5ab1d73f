// SPDX-License-Identifier: BSD-3-Clause
// Reads a security folder as the daemon does, and says what it would refuse.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "auth/security_folder.hpp"
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
};

std::string date_of(std::time_t time) {
  std::tm parts{};
  std::array<char, 32> text{};
  const std::size_t length =
      std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&time, &parts));
  return {text.data(), length};
}

// The certificates that can be read, each as the other side would see it.
std::vector<Checked> check_all(auth::SecurityFolder& folder, const auth::Trust& trust) {
  std::vector<Checked> result;
  const Instant now = Clock::now();
  for (const auth::Side side : {auth::Side::server, auth::Side::client}) {
    for (const std::string& name : folder.names(side)) {
      const auto found = folder.of(side, name, now);
      if (!found || found->credential == nullptr) {
        continue;
      }
      const auth::Certificate& leaf = found->credential->leaf();
      const auth::Purpose purpose =
          side == auth::Side::server ? auth::Purpose::server : auth::Purpose::client;
      result.push_back({.side = side,
                        .name = name,
                        .subject = leaf.subject(),
                        .until = leaf.valid_until(),
                        .verdict = verify_chain(found->credential->chain(), trust, name, purpose,
                                                std::time(nullptr))});
    }
  }
  return result;
}

void print_checked_json(const std::string& path, std::size_t authorities,
                        const std::vector<Checked>& checked, const auth::Complaints& complaints) {
  nlohmann::ordered_json certificates = nlohmann::ordered_json::array();
  for (const Checked& one : checked) {
    certificates.push_back({{"side", to_string(one.side)},
                            {"name", one.name},
                            {"subject", one.subject},
                            {"until", date_of(one.until)},
                            {"verdict", info(one.verdict).name},
                            {"words", info(one.verdict).words}});
  }
  nlohmann::ordered_json refused = nlohmann::ordered_json::array();
  for (const auth::Complaint& complaint : complaints) {
    refused.push_back({{"path", complaint.path}, {"why", complaint.why}});
  }
  print_json({{"folder", path},
              {"authorities", authorities},
              {"certificates", std::move(certificates)},
              {"refused", std::move(refused)}});
}

void print_checked(const std::string& path, std::size_t authorities,
                   const std::vector<Checked>& checked, const auth::Complaints& complaints) {
  Table table({{"SIDE", Align::left, false},
               {"NAME", Align::left, true},
               {"SUBJECT", Align::left, true},
               {"VALID UNTIL", Align::left, false},
               {"VERDICT", Align::left, false}});
  for (const Checked& one : checked) {
    table.add({std::string(to_string(one.side)), one.name, one.subject, date_of(one.until),
               std::string(info(one.verdict).words)});
  }
  print_text(fmt::format("{}: {} {}\n{}", path, authorities,
                         authorities == 1 ? "authority" : "authorities",
                         table.empty() ? "" : '\n' + table.render(terminal_width(STDOUT_FILENO))));
  for (const auth::Complaint& complaint : complaints) {
    print_text(fmt::format("\nrefused {}\n  {}\n", complaint.path, complaint.why));
  }
}

}  // namespace

int check_security_folder(const Common& common, const std::string& path) {
  auth::Complaints complaints;
  auth::SecurityFolder folder(
      path, [&complaints](const auth::Complaint& complaint) { complaints.push_back(complaint); });
  const auto trust = folder.trust(Clock::now());
  const auth::Trust nobody;
  const std::vector<Checked> checked = check_all(folder, trust ? **trust : nobody);
  const std::size_t authorities = trust ? (*trust)->authorities() : 0;
  if (common.json) {
    print_checked_json(path, authorities, checked, complaints);
  } else {
    print_checked(path, authorities, checked, complaints);
  }
  const bool good =
      complaints.empty() && authorities > 0 && std::ranges::all_of(checked, [](const Checked& one) {
        return one.verdict == auth::Verdict::ok;
      });
  return good ? kDone : kFailed;
}

}  // namespace flowfs::cli
