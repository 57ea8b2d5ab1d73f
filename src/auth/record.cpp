// SPDX-License-Identifier: BSD-3-Clause
#include "auth/record.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "auth/byte_reader.hpp"
#include "auth/byte_writer.hpp"
#include "auth/hkdf.hpp"

namespace flowfs::auth {
namespace {

constexpr std::string_view kPurpose = "flowfs OAP 1 epoch";
constexpr std::size_t kEpochBytes = 4;
constexpr std::size_t kNumberBytes = 8;
static_assert(kEpochBytes + kNumberBytes == kRecordHeader);
static_assert(Aead::kNonceBytes > kNumberBytes);

}  // namespace

Result<EpochKey> EpochKey::derive(const Choice& choice, View secret, std::uint32_t epoch,
                                  Aead::Use use) {
  const CipherInfo* const cipher = find(choice.cipher);
  if (cipher == nullptr) {
    return fail(EINVAL, "cipher");
  }
  Bytes info;
  append(info, std::as_bytes(std::span(kPurpose)));
  append_number(info, epoch, kEpochBytes);
  const auto material =
      hkdf(choice.digest, secret, {}, View(info), cipher->key_bytes + Aead::kNonceBytes);
  if (!material) {
    return std::unexpected(material.error());
  }
  auto aead = Aead::create(choice.cipher, material->bytes().first(cipher->key_bytes), use);
  if (!aead) {
    return std::unexpected(aead.error());
  }
  EpochKey key{.epoch = epoch, .aead = std::move(*aead), .mask = {}};
  std::ranges::copy(material->bytes().subspan(cipher->key_bytes), key.mask.begin());
  return key;
}

Aead::Nonce EpochKey::nonce(std::uint64_t number) const {
  Aead::Nonce nonce = mask;
  for (std::size_t i = 0; i < kNumberBytes; ++i) {
    nonce.at(Aead::kNonceBytes - 1 - i) ^= static_cast<std::byte>(number >> (8 * i));
  }
  return nonce;
}

// ---- sealing
// -------------------------------------------------------------------------------------

Result<RecordSealer> RecordSealer::create(const Choice& choice, Secret secret, Instant now,
                                          const RekeyLimits& limits, std::uint32_t first_epoch) {
  auto key = EpochKey::derive(choice, secret.bytes(), first_epoch, Aead::Use::seal);
  if (!key) {
    return std::unexpected(key.error());
  }
  return RecordSealer(choice, std::move(secret), std::move(*key), now, limits);
}

bool RecordSealer::next_epoch(Instant now) {
  if (key_.epoch == limits_.last_epoch) {
    return false;
  }
  auto key = EpochKey::derive(choice_, secret_.bytes(), key_.epoch + 1, Aead::Use::seal);
  if (!key) {
    return false;
  }
  key_ = std::move(*key);
  began_ = now;
  next_ = 0;
  return true;
}

RecordSealer::Outcome RecordSealer::seal(View plain, std::span<std::byte> record, Instant now) {
  FLOWFS_CHECK(record.size() == plain.size() + kRecordOverhead);
  if ((next_ == limits_.records || now - began_ >= limits_.time) && !next_epoch(now)) {
    return Outcome::exhausted;
  }
  const std::uint64_t number = next_++;  // used up, whatever becomes of it
  const auto header = record.first(kRecordHeader);
  put_number(header.first(kEpochBytes), key_.epoch);
  put_number(header.last(kNumberBytes), number);
  const bool sealed =
      key_.aead.seal(key_.nonce(number), header, plain, record.subspan(kRecordHeader, plain.size()),
                     record.last<Aead::kTagBytes>());
  return sealed ? Outcome::ok : Outcome::exhausted;
}

// ---- opening
// -------------------------------------------------------------------------------------

RecordMark mark_behind(View record) {
  ByteReader header(record.first(kRecordHeader));
  RecordMark mark;
  mark.epoch = static_cast<std::uint32_t>(header.number(kEpochBytes));
  mark.next = header.number(kNumberBytes) + 1;
  return mark;
}

Result<RecordOpener> RecordOpener::create(const Choice& choice, Secret secret,
                                          const RekeyLimits& limits, const RecordMark& begin) {
  auto key = EpochKey::derive(choice, secret.bytes(), begin.epoch, Aead::Use::open);
  if (!key) {
    return std::unexpected(key.error());
  }
  return RecordOpener(choice, std::move(secret),
                      Epoch{.key = std::move(*key), .window = ReplayWindow(begin.next)}, limits);
}

RecordOpener::Outcome RecordOpener::open(View record, std::span<std::byte> out, Instant now) {
  const Outcome outcome = try_open(record, out, now);
  switch (outcome) {
    case Outcome::ok:
      ++counters_.opened;
      break;
    case Outcome::malformed:
      ++counters_.malformed;
      break;
    case Outcome::stale:
      ++counters_.stale;
      break;
    case Outcome::replayed:
      ++counters_.replayed;
      break;
    case Outcome::forged:
      ++counters_.forged;
      break;
  }
  return outcome;
}

RecordOpener::Outcome RecordOpener::try_open(View record, std::span<std::byte> out, Instant now) {
  if (record.size() < kRecordOverhead || out.size() != record.size() - kRecordOverhead) {
    return Outcome::malformed;
  }
  // Of one copy: the record may lie in memory that its writer still changes.
  Header header{};
  std::ranges::copy(record.first(kRecordHeader), header.begin());
  ByteReader reader(header);
  const auto epoch = static_cast<std::uint32_t>(reader.number(kEpochBytes));
  const std::uint64_t number = reader.number(kNumberBytes);
  if (number >= limits_.records || epoch > limits_.last_epoch) {
    return Outcome::malformed;
  }
  if (before_ && now >= forget_) {
    before_.reset();
  }
  if (epoch == now_.key.epoch) {
    return open_in(now_, header, number, record, out);
  }
  if (before_ && epoch == before_->key.epoch) {
    return open_in(*before_, header, number, record, out);
  }
  if (epoch < now_.key.epoch) {
    return Outcome::stale;
  }
  auto key = EpochKey::derive(choice_, secret_.bytes(), epoch, Aead::Use::open);
  if (!key) {
    return Outcome::forged;
  }
  Epoch next{.key = std::move(*key), .window = ReplayWindow()};
  const Outcome outcome = open_in(next, header, number, record, out);
  if (outcome == Outcome::ok) {
    advance(std::move(next), now);
  }
  return outcome;
}

RecordOpener::Outcome RecordOpener::open_in(Epoch& epoch, const Header& header,
                                            std::uint64_t number, View record,
                                            std::span<std::byte> out) {
  if (!epoch.window.is_fresh(number)) {
    return Outcome::replayed;
  }
  const View sealed = record.subspan(kRecordHeader, out.size());
  if (!epoch.key.aead.open(epoch.key.nonce(number), header, sealed, record.last<Aead::kTagBytes>(),
                           out)) {
    return Outcome::forged;
  }
  epoch.window.mark(number);
  return Outcome::ok;
}

void RecordOpener::advance(Epoch next, Instant now) {
  before_ = std::move(now_);
  now_ = std::move(next);
  forget_ = now + limits_.keep_old;
}

}  // namespace flowfs::auth
