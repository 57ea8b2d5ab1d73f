// SPDX-License-Identifier: BSD-3-Clause
// The interfaces attached to the buses: tap/NAME and grab/NAME.
//
// Threads: the loop's.
// Invariants: 1. A bus has at most one attachment of a kind and name. 2. A bus that has any is in
// use: each is a member of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/attachment.hpp"

namespace flowfs::fs {

enum class AttachmentId : std::uint64_t {};  // never reused

class Attachments {
 public:
  Attachments(Loop& loop, Buses& buses, FileTable& files);

  // EINVAL no name of an interface; EOPNOTSUPP no Ethernet bus; EEXIST; EBUSY it is a port of the
  // bus in the other way; EDQUOT, ENFILE; and those of Attachment::attach.
  Result<AttachmentId> attach(registry::BusId bus, Attachment::Kind kind, std::string_view name,
                              registry::Opener who);
  // ENOENT.
  Status detach(registry::BusId bus, Attachment::Kind kind, std::string_view name);
  void clear() { attached_.clear(); }

  // Null where there is none.
  [[nodiscard]] Attachment* find(AttachmentId id) const;
  [[nodiscard]] std::optional<AttachmentId> find(registry::BusId bus, Attachment::Kind kind,
                                                 std::string_view name) const;
  struct Listed {
    AttachmentId id{};
    const Attachment* attachment = nullptr;
  };
  // That of a bus and kind with the smallest id that is `first` or greater.
  [[nodiscard]] std::optional<Listed> next(registry::BusId bus, Attachment::Kind kind,
                                           AttachmentId first) const;

  // Runs when one has gone.
  std::function<void(AttachmentId)> on_gone;

 private:
  struct Attached {
    registry::BusId bus{};
    registry::Charge descriptor;
    std::unique_ptr<Attachment> attachment;
  };

  Loop& loop_;
  Buses& buses_;
  FileTable& files_;
  std::vector<std::byte> buffer_;  // for one frame; from the first attachment on
  std::unique_ptr<Workers> closers_;
  std::map<AttachmentId, Attached> attached_;
  std::uint64_t next_ = 1;
};

}  // namespace flowfs::fs
