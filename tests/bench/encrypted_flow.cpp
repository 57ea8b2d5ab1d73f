// SPDX-License-Identifier: BSD-3-Clause
// encrypted_flow MOUNT [ROUNDS [SCALE]]: messages one way between two mapped ends of a flow that is
// encrypted, beside the same cipher in a bare loop and beside the same flow in clear; and what it
// costs to dial a name whose server proves who it is, beside the cryptography of that alone. Prints
// a JSON list of results.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "auth/issue.hpp"
#include "bare_cipher.hpp"
#include "mapped_flow.hpp"
#include "suite.hpp"

namespace {

using flowfs::bench::Arguments;
using flowfs::bench::BenchName;
using flowfs::bench::die;
using flowfs::bench::mapped_flows;
using flowfs::bench::percentile;
using flowfs::bench::Placement;
using flowfs::bench::Result;
using flowfs::bench::Series;
using flowfs::bench::Suite;
using flowfs::bench::Transport;
using Clock = std::chrono::steady_clock;

constexpr const char* kCipher = "aes-256-gcm";
constexpr std::size_t kMessages = 100'000;
constexpr double kCipherTarget = 0.6;
constexpr std::size_t kDials = 50;  // a round: as many as the daemon lets one user make at once,
constexpr auto kRefill = std::chrono::milliseconds(200);  // and how long until it does again
constexpr double kSetUpTarget = 1.5;

void set(const BenchName& name, const std::string& file, std::string_view text) {
  std::ofstream out(name.folder() + "/security/" + file);
  out << text << std::flush;
  if (!out) {
    die(file.c_str());
  }
}

// Bytes a second, of each in every round.
void measure_one_way(Suite& suite, const Arguments& arguments, const BenchName& name,
                     std::size_t bytes) {
  const std::size_t messages = std::max<std::size_t>(kMessages / arguments.scale, 10);
  const Transport transport = mapped_flows("encrypted_flow", arguments.mount, name, {});
  Series sealed;
  Series clear;
  Series bare;
  for (std::size_t round = 0; round < arguments.rounds; ++round) {
    const auto rate = [&] {
      return static_cast<double>(bytes) *
             flowfs::bench::one_way(transport, Placement::pin, bytes, messages);
    };
    set(name, "encrypt", "require");
    sealed.values.push_back(rate());
    set(name, "encrypt", "off");
    clear.values.push_back(rate());
    bare.values.push_back(flowfs::bench::bare_cipher(kCipher, bytes, messages));
  }
  Result result{.name = "encrypted_flow",
                .placement = Placement::pin,
                .bytes = bytes,
                .metric = "bytes_per_s",
                .ours = sealed,
                .peer = std::string("evp_") + kCipher,
                .theirs = bare,
                .target = bytes == 16'384 ? std::optional(kCipherTarget) : std::nullopt,
                .at_most = false};
  suite.add(result);
  result.peer = "flow_in_clear";
  result.theirs = clear;
  result.target.reset();
  suite.add(result);
}

template <typename T>
T must(flowfs::Result<T> result, const char* what) {
  if (!result) {
    die(what);
  }
  return std::move(*result);
}

std::string_view text_of(const flowfs::auth::Secret& secret) {
  return {reinterpret_cast<const char*>(secret.bytes().data()), secret.bytes().size()};
}

void give_certificate(const BenchName& name) {
  const flowfs::auth::Validity validity{.from = std::time(nullptr) - 60, .days = 1};
  const auto authority =
      must(flowfs::auth::make_authority("bench authority", validity), "make_authority");
  const auto server = must(
      flowfs::auth::issue(authority.certificate, text_of(authority.key),
                          {.name = name.name(), .hosts = {}, .common_name = "bench"}, validity),
      "issue");
  set(name, "ca", authority.certificate);
  set(name, "certificate", server.certificate);
  set(name, "key", text_of(server.key));
}

// Microseconds of a dial that a waiting server answers.
double dial(const BenchName& name) {
  const int server = open((name.folder() + "/accept").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  const auto start = Clock::now();
  const int client = open((name.folder() + "/dial").c_str(), O_RDWR | O_CLOEXEC);
  const std::chrono::duration<double, std::micro> taken = Clock::now() - start;
  if (server < 0 || client < 0) {
    die("dial");
  }
  close(client);
  close(server);
  return taken.count();
}

void measure_set_up(Suite& suite, const Arguments& arguments, const BenchName& name) {
  give_certificate(name);
  set(name, "authenticate", "server");
  set(name, "encrypt", "require");
  Series ours;
  Series bare;
  for (std::size_t round = 0; round < arguments.rounds; ++round) {
    std::this_thread::sleep_for(kRefill);
    std::vector<double> dials;
    std::vector<double> alone;
    for (std::size_t i = 0; i < std::max<std::size_t>(kDials / arguments.scale, 5); ++i) {
      dials.push_back(dial(name));
      alone.push_back(flowfs::bench::bare_handshake());
    }
    ours.values.push_back(percentile(dials, 0.5));
    bare.values.push_back(percentile(alone, 0.5));
  }
  suite.add({.name = "authenticated_set_up",
             .placement = Placement::free,
             .bytes = 0,
             .metric = "dial_p50_us",
             .ours = ours,
             .peer = "evp_ed25519_x25519",
             .theirs = bare,
             .target = kSetUpTarget});
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = flowfs::bench::parse(argc, argv);
  const BenchName name(arguments.mount);
  Suite suite(arguments.rounds, arguments.scale);
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{16'384}}) {
    measure_one_way(suite, arguments, name, bytes);
  }
  measure_set_up(suite, arguments, name);
  suite.print();
  return 0;
}
