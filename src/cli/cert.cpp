// SPDX-License-Identifier: BSD-3-Clause
// Makes what a security folder holds. The authority's own key lies beside what the daemon reads, in
// `authority`: good for a laboratory; whoever needs more has an authority elsewhere.
#include <unistd.h>

#include <array>
#include <ctime>
#include <span>

#include "auth/issue.hpp"
#include "auth/kem_key.hpp"
#include "auth/security_folder.hpp"
#include "cli/cert_files.hpp"
#include "cli/commands.hpp"

namespace flowfs::cli {
namespace {

constexpr unsigned kDaysOfAuthority = 3650;
constexpr unsigned kDaysOfCertificate = 365;
constexpr unsigned kDaysOfList = 30;
constexpr std::time_t kClocksDiffer = 300;  // seconds that it is valid before now

auth::Validity validity_of(const CertOptions& options, unsigned days) {
  return {.from = std::time(nullptr) - kClocksDiffer, .days = options.days.value_or(days)};
}

int failed_with(std::string_view what, const Failure& failure) {
  complain(fmt::format("{}: {}: {}", what, failure.context, errno_in_words(failure.error)));
  return kFailed;
}

int failed_to_write(const std::string& path, const Failure& failure) {
  complain(fmt::format("cannot write {}: {}", path, errno_in_words(failure.error)));
  return kFailed;
}

struct Text {
  std::string path;
  std::string_view content;
};

// All of them, into `folder`; none where one is there and not to be replaced.
int write_all(const Common& common, const std::string& folder, std::span<const Text> texts,
              bool replace) {
  for (const Text& text : texts) {
    if (!replace && ::access(text.path.c_str(), F_OK) == 0) {
      complain(fmt::format("{} is there already; --force replaces it", text.path));
      return kFailed;
    }
  }
  if (const Status made = make_folders(folder); !made) {
    return failed_to_write(folder, made.error());
  }
  for (const Text& text : texts) {
    if (const Status written = write_file(text.path, text.content); !written) {
      return failed_to_write(text.path, written.error());
    }
  }
  for (const Text& text : texts) {
    if (common.json) {
      print_json({{"written", text.path}});
    } else {
      print_text(text.path + '\n');
    }
  }
  return kDone;
}

struct Authority {
  std::string certificate;
  auth::Secret key;
};

std::string authority_file(const std::string& folder, const char* file) {
  return folder + "/authority/" + file;
}

Result<Authority> failed_authority(const std::string& path, const Failure& failure) {
  complain(fmt::format("{}: {}{}", path, failure.message(),
                       failure.error == ENOENT ? "; `flowctl cert init` makes one" : ""));
  return std::unexpected(failure);
}

// Has said what is wrong where it fails.
Result<Authority> read_authority(const std::string& folder) {
  const auto opened = auth::GuardedFolder::open(folder + "/authority");
  if (!opened) {
    return failed_authority(folder + "/authority", opened.error());
  }
  using Guard = auth::GuardedFolder::Guard;
  const auto certificate = opened->read("crt.pem", Guard::open, auth::kLongestPem);
  if (!certificate) {
    return failed_authority(authority_file(folder, "crt.pem"), certificate.error());
  }
  auto key = opened->read("key.pem", Guard::secret, auth::kLongestPem);
  if (!key) {
    return failed_authority(authority_file(folder, "key.pem"), key.error());
  }
  return Authority{.certificate = std::string(auth::text_of(*certificate)), .key = std::move(*key)};
}

int init(const Common& common, const CertOptions& options, const std::string& folder) {
  const std::string subject = options.subject.empty() ? "flowfs authority" : options.subject;
  const auto made = auth::make_authority(subject, validity_of(options, kDaysOfAuthority));
  if (!made) {
    return failed_with(subject, made.error());
  }
  if (const Status below = make_folders(folder + "/cacert"); !below) {
    return failed_to_write(folder, below.error());
  }
  const std::array texts{Text{authority_file(folder, "key.pem"), auth::text_of(made->key)},
                         Text{authority_file(folder, "crt.pem"), made->certificate},
                         Text{folder + "/cacert/authority.pem", made->certificate}};
  return write_all(common, folder + "/authority", texts, options.replace);
}

int make_certificate(const Common& common, const CertOptions& options, auth::Side side) {
  if (!check_name(options.word)) {
    return kUsage;
  }
  const Result<Authority> authority = read_authority(options.folder);
  if (!authority) {
    return kFailed;
  }
  const auth::Request request{
      .name = options.word,
      .hosts = options.hosts,
      .purpose = side == auth::Side::server ? auth::Purpose::server : auth::Purpose::client,
      .common_name = options.subject.empty() ? options.word.substr(0, auth::kLongestCommonName)
                                             : options.subject};
  const auto made = auth::issue(authority->certificate, auth::text_of(authority->key), request,
                                validity_of(options, kDaysOfCertificate));
  if (!made) {
    return failed_with(options.word, made.error());
  }
  const std::string folder = fmt::format("{}/{}/{}", options.folder, to_string(side), options.word);
  const std::array texts{Text{folder + "/key.pem", auth::text_of(made->key)},
                         Text{folder + "/crt.pem", made->certificate}};
  return write_all(common, folder, texts, options.replace);
}

// All that both sides of a name need, in one go; an authority that is there stays.
int make_laboratory(const Common& common, const CertOptions& options) {
  if (!check_name(options.word)) {
    return kUsage;
  }
  int done = kDone;
  if (::access(authority_file(options.folder, "key.pem").c_str(), F_OK) != 0) {
    CertOptions of_authority = options;
    of_authority.subject.clear();
    of_authority.days.reset();
    done = init(common, of_authority, options.folder);
  }
  for (const auth::Side side : {auth::Side::server, auth::Side::client}) {
    done = done == kDone ? make_certificate(common, options, side) : done;
  }
  return done;
}

// The server's key that its clients encapsulate to, and what they have of it.
int make_server_key(const Common& common, const CertOptions& options) {
  if (!check_name(options.word)) {
    return kUsage;
  }
  const auto made = auth::make_kem_pair();
  if (!made) {
    return failed_with(options.word, made.error());
  }
  const std::string client = fmt::format("{}/client/{}", options.folder, options.word);
  if (const Status there = make_folders(client); !there) {
    return failed_to_write(client, there.error());
  }
  const std::string server = fmt::format("{}/server/{}", options.folder, options.word);
  const std::array texts{Text{server + "/kem.pem", auth::text_of(made->private_half)},
                         Text{client + "/kem.pem", made->public_half}};
  return write_all(common, server, texts, options.replace);
}

// options.word is server/NAME or client/NAME.
int revoke(const Common& common, const CertOptions& options) {
  const std::size_t slash = options.word.find('/');
  const std::string side = options.word.substr(0, slash);
  if (slash == std::string::npos || (side != "server" && side != "client")) {
    complain(fmt::format("`{}` is neither server/NAME nor client/NAME", options.word));
    return kUsage;
  }
  if (!check_name(options.word.substr(slash + 1))) {
    return kUsage;
  }
  const Result<Authority> authority = read_authority(options.folder);
  if (!authority) {
    return kFailed;
  }
  const std::string path = options.folder + '/' + options.word + "/crt.pem";
  const Result<std::string> certificate = read_file(path, auth::kLongestPem);
  if (!certificate) {
    return failed_with(path, certificate.error());
  }
  const std::string list = options.folder + "/crl/authority.pem";
  const Result<std::string> before = read_file(list, auth::kLongestPem);
  if (!before && before.error().error != ENOENT) {
    return failed_with(list, before.error());
  }
  const auto revoked =
      auth::revoke(authority->certificate, auth::text_of(authority->key), before.value_or(""),
                   *certificate, validity_of(options, kDaysOfList));
  if (!revoked) {
    return failed_with(path, revoked.error());
  }
  const std::array texts{Text{list, *revoked}};
  return write_all(common, options.folder + "/crl", texts, true);
}

}  // namespace

int run_cert(const Common& common, const CertOptions& options) {
  const auto folder = [&options] { return options.word.empty() ? options.folder : options.word; };
  if (options.action == "init") {
    return init(common, options, folder());
  }
  if (options.action == "check") {
    return check_security_folder(common, folder());
  }
  if (options.word.empty()) {
    complain(fmt::format("`flowctl cert {}` needs a name", options.action));
    return kUsage;
  }
  if (options.action == "revoke") {
    return revoke(common, options);
  }
  if (options.action == "lab") {
    return make_laboratory(common, options);
  }
  if (options.action == "kem") {
    return make_server_key(common, options);
  }
  return make_certificate(common, options,
                          options.action == "server" ? auth::Side::server : auth::Side::client);
}

}  // namespace flowfs::cli
