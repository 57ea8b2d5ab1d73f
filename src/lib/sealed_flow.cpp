// SPDX-License-Identifier: BSD-3-Clause
#include "lib/sealed_flow.hpp"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/clock.hpp"
#include "base/fd.hpp"

namespace flowfs::lib {
namespace {

auth::Secret secret_of(const uint8_t (&bytes)[32]) {
  auth::Secret secret(sizeof bytes);
  std::ranges::copy(std::as_bytes(std::span(bytes)), secret.writable().begin());
  return secret;
}

}  // namespace

Result<std::unique_ptr<SealedFlow>> seal_with(const flowfs_key& key,
                                              const auth::RekeyLimits& limits) {
  auth::Choice choice;
  choice.cipher = auth::Cipher{key.cipher};
  choice.digest = auth::Digest{key.digest};
  auth::RekeyLimits own = limits;
  own.last_epoch = key.last_epoch;
  auto sealer = auth::RecordSealer::create(choice, secret_of(key.sending), Clock::now(), own,
                                           key.first_epoch);
  if (!sealer) {
    return std::unexpected(sealer.error());
  }
  auth::RecordMark begin;
  begin.epoch = key.next_epoch;
  begin.next = key.next_number;
  auto opener = auth::RecordOpener::create(choice, secret_of(key.receiving), limits, begin);
  if (!opener) {
    return std::unexpected(opener.error());
  }
  return std::make_unique<SealedFlow>(std::move(*sealer), std::move(*opener));
}

Result<std::unique_ptr<SealedFlow>> take_key(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) {
    return fail_errno("key");
  }
  flowfs_key key{};
  ssize_t got = 0;
  do {
    got = ::read(file.get(), &key, sizeof key);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    return fail_errno("key");
  }
  auto made = got == sizeof key && key.version == FLOWFS_LAYOUT_VERSION
                  ? seal_with(key)
                  : Result<std::unique_ptr<SealedFlow>>(fail(EPROTO, "key"));
  ::explicit_bzero(&key, sizeof key);
  return made;
}

}  // namespace flowfs::lib
