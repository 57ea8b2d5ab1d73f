// SPDX-License-Identifier: BSD-3-Clause
#include "auth/security_folder.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "auth/policy_file.hpp"

namespace flowfs::auth {
namespace {

constexpr std::size_t kLongestName = 255;
constexpr const char* kCertificate = "crt.pem";
constexpr const char* kKey = "key.pem";
constexpr const char* kServerKey = "kem.pem";
constexpr const char* kPolicy = "enc.toml";
constexpr int kMostTries = 8;                          // to read what changes at the same time
constexpr std::chrono::milliseconds kLongestTick{20};  // of the clock that files get their times by

// A part of what is believed: its folder, and whether going on without one of its files is safe.
struct Kind {
  const char* folder;
  Status (Trust::*add)(std::string_view);
  bool needed;
};

constexpr std::array kKinds{Kind{"cacert", &Trust::add_authorities, false},
                            Kind{"untrusted", &Trust::add_intermediates, false},
                            Kind{"crl", &Trust::add_revocations, true}};

// What cannot lead out of the folder. Which names there may be is the registry's business.
bool is_plain(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

// What a call says needs its errno; what is refused here has words of its own.
std::string in_words(const Failure& failure) {
  return failure.error == EKEYREJECTED ? std::string(failure.context) : failure.message();
}

// Reads the files of one folder. Those that are not there are no reason to complain.
class Reader {
 public:
  using Guard = GuardedFolder::Guard;

  Reader(const GuardedFolder& folder, std::string path, Complaints& complaints)
      : folder_(folder), path_(std::move(path)), complaints_(complaints) {}

  std::optional<Secret> read(const std::string& name, Guard guard, std::size_t limit) {
    Result<Secret> text = folder_.read(name, guard, limit);
    if (text) {
      return std::move(*text);
    }
    if (text.error().error != ENOENT) {
      refuse(name, in_words(text.error()));
    }
    return std::nullopt;
  }
  void refuse(const std::string& name, std::string why) {
    complaints_.push_back({path_ + '/' + name, std::move(why)});
    good_ = false;
  }
  [[nodiscard]] bool good() const { return good_; }

 private:
  const GuardedFolder& folder_;
  std::string path_;
  Complaints& complaints_;
  bool good_ = true;
};

std::shared_ptr<const Credential> read_credential(Reader& reader) {
  const auto certificates = reader.read(kCertificate, Reader::Guard::open, kLongestPem);
  const auto key = reader.read(kKey, Reader::Guard::secret, kLongestPem);
  if (!reader.good() || (!certificates && !key)) {
    return nullptr;
  }
  if (!certificates || !key) {
    reader.refuse(certificates ? kKey : kCertificate, "it is missing, and the other one is there");
    return nullptr;
  }
  auto chain = parse_certificates(text_of(*certificates));
  if (!chain) {
    reader.refuse(kCertificate, chain.error().context);
    return nullptr;
  }
  Result<PrivateKey> parsed = PrivateKey::parse(text_of(*key));
  if (!parsed) {
    reader.refuse(kKey, parsed.error().context);
    return nullptr;
  }
  auto credential = Credential::combine(std::move(*chain), std::move(*parsed));
  if (!credential) {
    reader.refuse(kKey, credential.error().context);
    return nullptr;
  }
  return std::make_shared<const Credential>(std::move(*credential));
}

// The server's is a private key, its clients have the public one.
std::shared_ptr<const KemKey> read_server_key(Reader& reader, Side side) {
  const bool own = side == Side::server;
  const auto text =
      reader.read(kServerKey, own ? Reader::Guard::secret : Reader::Guard::open, kLongestPem);
  if (!text) {
    return nullptr;
  }
  auto key = own ? KemKey::parse_private(text_of(*text)) : KemKey::parse_public(text_of(*text));
  if (!key) {
    reader.refuse(kServerKey, key.error().context);
    return nullptr;
  }
  return std::make_shared<const KemKey>(std::move(*key));
}

std::optional<Policy> read_policy(Reader& reader) {
  const auto text = reader.read(kPolicy, Reader::Guard::open, kLongestPolicy);
  if (!text) {
    return std::nullopt;
  }
  if (text->empty()) {  // as a file is while a shell writes it anew: not to ask for anything then
    reader.refuse(kPolicy, "it is empty");
    return std::nullopt;
  }
  auto policy = parse_policy(text_of(*text));
  if (!policy) {
    for (const PolicyProblem& problem : policy.error()) {
      reader.refuse(kPolicy, to_string(problem, kPolicy));
    }
    return std::nullopt;
  }
  return std::move(*policy);
}

// Everything of one kind. False where going on without what is refused would not be safe.
bool read_kind(const Kind& kind, const GuardedFolder& folder, const std::string& path, Trust& trust,
               Complaints& complaints) {
  const auto files = folder.list(Trust::kMost);
  if (!files) {
    complaints.push_back({path, in_words(files.error())});
    return false;
  }
  Reader reader(folder, path, complaints);
  for (const std::string& file : *files) {
    const auto text = reader.read(file, Reader::Guard::open, kLongestPem);
    if (!text) {
      continue;
    }
    if (const Status added = (trust.*kind.add)(text_of(*text)); !added) {
      reader.refuse(file, added.error().context);
    }
  }
  return reader.good() || !kind.needed;
}

// Of a folder, or of the reason why it is not used.
Stamp stamp_of(const Result<GuardedFolder>& folder) {
  return folder ? folder->stamp() : Stamp{.bytes = -folder.error().error};
}

// Whether another change would show in the stamps: one in the same tick of the kernel's clock as
// the last would not.
bool would_show(std::span<const Stamp> stamps) {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  const auto settled_ns = std::chrono::nanoseconds(since_epoch - kLongestTick).count();
  return std::ranges::all_of(
      stamps, [settled_ns](const Stamp& stamp) { return stamp.changed_ns < settled_ns; });
}

}  // namespace

std::string_view to_string(Side side) { return side == Side::server ? "server" : "client"; }

SecurityFolder::SecurityFolder(std::string path, Complain complain)
    : path_(std::move(path)), complain_(std::move(complain)) {}

template <typename Value, typename Stamps, typename Load>
Result<Value> SecurityFolder::look(Part<Value>& part, Instant now, const Stamps& stamps,
                                   const Load& load) {
  if (part.value && now < part.looked + kLookAgain) {
    return *part.value;
  }
  std::vector<Stamp> current = stamps();
  if (part.value && part.lasts && current == part.stamps) {
    part.looked = now;
    return *part.value;
  }
  Complaints complaints;
  Result<Value> value = load(complaints);
  std::vector<Stamp> behind = stamps();
  // A folder that was taken away meanwhile, another in its place, seems to ask for nothing.
  for (int i = 0; behind != current && i < kMostTries; ++i) {
    current = std::exchange(behind, {});
    complaints.clear();
    value = load(complaints);
    behind = stamps();
  }
  if (behind != current) {
    value = fail(EKEYREJECTED, "it never stops to change");
  }
  part.value = std::move(value);
  part.looked = now;
  // What failed may have failed for want of a descriptor or of memory, which no stamp shows.
  part.lasts = would_show(current) && part.value->has_value() && complaints.empty();
  part.stamps = std::move(current);
  for (const Complaint& complaint : complaints) {
    if (std::ranges::find(part.complaints, complaint) == part.complaints.end()) {
      complain_(complaint);
    }
  }
  part.complaints = std::move(complaints);
  return *part.value;
}

Result<std::shared_ptr<const Trust>> SecurityFolder::trust(Instant now) {
  const std::scoped_lock lock(mutex_);
  return look(
      trust_, now, [this] { return stamps_of_trust(); },
      [this](Complaints& complaints) { return load_trust(complaints); });
}

Result<NameSecurity> SecurityFolder::of(Side side, std::string_view name, Instant now) {
  if (!is_plain(name)) {
    return fail(EINVAL, "name");
  }
  const std::scoped_lock lock(mutex_);
  const std::string key(name);
  if (names_.size() >= kMostNames && !names_.contains({side, key})) {
    names_.clear();
  }
  return look(
      names_[{side, key}], now, [this, side, &key] { return stamps_of(side, key); },
      [this, side, &key](Complaints& complaints) { return load(side, key, complaints); });
}

std::vector<std::string> SecurityFolder::names(Side side) const {
  const std::string path = path_ + '/' + std::string(to_string(side));
  const auto folder = GuardedFolder::open(path);
  const auto names = folder ? folder->list(kMostListed) : std::unexpected(folder.error());
  if (!names && names.error().error != ENOENT) {
    complain_({path, in_words(names.error())});
  }
  return names.value_or(std::vector<std::string>{});
}

std::string SecurityFolder::path_of(Side side, const std::string& name) const {
  return path_ + '/' + std::string(to_string(side)) + '/' + name;
}

std::vector<Stamp> SecurityFolder::stamps_of_trust() const {
  std::vector<Stamp> stamps;
  const auto root = GuardedFolder::open(path_);
  for (const Kind& kind : kKinds) {
    const auto folder = root ? root->open_folder(kind.folder) : std::unexpected(root.error());
    stamps.push_back(stamp_of(folder));
    const auto files = folder ? folder->list(Trust::kMost) : std::unexpected(folder.error());
    for (const std::string& file : files.value_or(std::vector<std::string>{})) {
      stamps.push_back(folder->stamp(file));
    }
  }
  return stamps;
}

Result<std::shared_ptr<const Trust>> SecurityFolder::load_trust(Complaints& complaints) const {
  const auto root = GuardedFolder::open(path_);
  if (!root) {
    if (root.error().error != ENOENT) {
      complaints.push_back({path_, in_words(root.error())});
    }
    return fail(ENOKEY, "security folder");
  }
  auto trust = std::make_shared<Trust>();
  bool good = true;
  for (const Kind& kind : kKinds) {
    const std::string path = path_ + '/' + kind.folder;
    const auto folder = root->open_folder(kind.folder);
    if (folder) {
      good = read_kind(kind, *folder, path, *trust, complaints) && good;
    } else if (folder.error().error != ENOENT) {
      complaints.push_back({path, in_words(folder.error())});
      good = false;
    }
  }
  if (!good) {
    return fail(EKEYREJECTED, "security folder");
  }
  if (trust->authorities() == 0) {
    return fail(ENOKEY, "authorities");
  }
  return trust;
}

// `complaints` also gets what is wrong with the folders above.
Result<GuardedFolder> SecurityFolder::folder_of(Side side, const std::string& name,
                                                Complaints& complaints) const {
  std::string path = path_;
  Result<GuardedFolder> folder = GuardedFolder::open(path_);
  for (const std::string& below : {std::string(to_string(side)), name}) {
    if (folder) {
      path += '/' + below;
      folder = folder->open_folder(below);
    }
  }
  if (!folder && folder.error().error != ENOENT) {
    complaints.push_back({path, in_words(folder.error())});
  }
  return folder;
}

std::vector<Stamp> SecurityFolder::stamps_of(Side side, const std::string& name) const {
  Complaints ignored;
  const auto folder = folder_of(side, name, ignored);
  if (!folder) {
    return {stamp_of(folder)};
  }
  return {folder->stamp(), folder->stamp(kCertificate), folder->stamp(kKey),
          folder->stamp(kServerKey), folder->stamp(kPolicy)};
}

Result<NameSecurity> SecurityFolder::load(Side side, const std::string& name,
                                          Complaints& complaints) const {
  const auto folder = folder_of(side, name, complaints);
  if (!folder) {
    if (folder.error().error == ENOENT) {
      return NameSecurity{};
    }
    return fail(EKEYREJECTED, "security folder");
  }
  Reader reader(*folder, path_of(side, name), complaints);
  Result<NameSecurity> result;
  result->credential = read_credential(reader);
  result->server_key = read_server_key(reader, side);
  result->policy = read_policy(reader);
  if (!reader.good()) {
    return fail(EKEYREJECTED, "security folder");
  }
  return result;
}

}  // namespace flowfs::auth
