// SPDX-License-Identifier: BSD-3-Clause
// seal_speed MOUNT [ROUNDS [SCALE]]: how many bytes a second an end of an encrypted flow seals and
// opens, in place. Beside it the same cipher of the same OpenSSL in a bare loop, as `openssl speed`
// runs it: an initialisation vector, the message, the end. Prints a JSON list of results. MOUNT is
// there because all benchmarks are started alike.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "auth/record.hpp"
#include "bare_cipher.hpp"
#include "measure.hpp"

namespace {

using flowfs::Instant;
using flowfs::auth::Bytes;
using flowfs::auth::Choice;
using flowfs::auth::Cipher;
using flowfs::auth::kRecordHeader;
using flowfs::auth::kRecordOverhead;
using flowfs::auth::RecordOpener;
using flowfs::auth::RecordSealer;
using flowfs::auth::Secret;
using flowfs::bench::Placement;
using flowfs::bench::Result;
using flowfs::bench::Series;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatch = 16;  // records that lie ready between sealing and opening
constexpr std::size_t kTotalBytes = 200'000'000;
constexpr std::size_t kPerMessage = 1'024;  // a message takes about as long as so many bytes more
constexpr double kTarget = 0.6;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "seal_speed: %s\n", what);
  std::exit(1);
}

std::size_t number(int argc, char** argv, int at, std::size_t otherwise) {
  const long value = at < argc ? std::atol(argv[at]) : 0;
  return value > 0 ? static_cast<std::size_t>(value) : otherwise;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Both ends of one direction, and the records between them.
class Flow {
 public:
  Flow(const Choice& choice, std::size_t bytes)
      : sealer_(std::move(*RecordSealer::create(choice, Secret(32), Instant{}))),
        opener_(std::move(*RecordOpener::create(choice, Secret(32)))),
        records_(kBatch, Bytes(bytes + kRecordOverhead)) {}

  // Bytes a second, of each.
  void run(std::size_t batches, Series& sealing, Series& opening) {
    double seal_seconds = 0;
    double open_seconds = 0;
    for (std::size_t i = 0; i < batches; ++i) {
      const auto start = Clock::now();
      for (Bytes& record : records_) {
        if (sealer_.seal(body(record), record, start) != RecordSealer::Outcome::ok) {
          die("a record was not sealed");
        }
      }
      seal_seconds += seconds_since(start);
      const auto sealed = Clock::now();
      for (Bytes& record : records_) {
        if (opener_.open(record, body(record), sealed) != RecordOpener::Outcome::ok) {
          die("a record was not opened");
        }
      }
      open_seconds += seconds_since(sealed);
    }
    const auto total = static_cast<double>(batches * kBatch * body(records_.front()).size());
    sealing.values.push_back(total / seal_seconds);
    opening.values.push_back(total / open_seconds);
  }

 private:
  static std::span<std::byte> body(Bytes& record) {
    return std::span(record).subspan(kRecordHeader, record.size() - kRecordOverhead);
  }

  RecordSealer sealer_;
  RecordOpener opener_;
  std::vector<Bytes> records_;
};

struct Case {
  Cipher cipher;
  const char* openssl;
  std::size_t bytes;
};

struct Figures {
  Series sealing;
  Series opening;
  Series bare;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: seal_speed MOUNT [ROUNDS [SCALE]]\n";
    return 2;
  }
  const std::size_t rounds = number(argc, argv, 2, 7);
  const std::size_t total = kTotalBytes / number(argc, argv, 3, 1);
  const std::vector<Case> cases{{Cipher::aes_256_gcm, "aes-256-gcm", 64},
                                {Cipher::aes_256_gcm, "aes-256-gcm", 1'024},
                                {Cipher::aes_256_gcm, "aes-256-gcm", 16'384},
                                {Cipher::chacha20_poly1305, "chacha20-poly1305", 16'384}};
  flowfs::bench::place(Placement::pin, false);
  std::vector<Figures> figures(cases.size());
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const Case& one = cases[i];
      Choice choice;
      choice.cipher = one.cipher;
      const std::size_t messages =
          std::max(total / (one.bytes + kPerMessage) / kBatch, std::size_t{1}) * kBatch;
      Flow(choice, one.bytes).run(messages / kBatch, figures[i].sealing, figures[i].opening);
      figures[i].bare.values.push_back(
          flowfs::bench::bare_cipher(one.openssl, one.bytes, messages));
    }
  }

  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto add = [&](const char* name, const Series& ours) {
      results.push_back(
          to_json(Result{.name = name,
                         .placement = Placement::pin,
                         .bytes = cases[i].bytes,
                         .metric = "bytes_per_s",
                         .ours = ours,
                         .peer = std::string("evp_") + cases[i].openssl,
                         .theirs = figures[i].bare,
                         .target = cases[i].bytes == 16'384 ? std::optional(kTarget) : std::nullopt,
                         .at_most = false}));
    };
    add("seal", figures[i].sealing);
    add("open", figures[i].opening);
  }
  std::cout << results.dump(1) << '\n';
  return 0;
}
