// SPDX-License-Identifier: BSD-3-Clause
#include "fs/attachments.hpp"

#include <algorithm>

namespace flowfs::fs {

Attachments::Attachments(Loop& loop, Buses& buses, FileTable& files)
    : loop_(loop), buses_(buses), files_(files) {}

Result<AttachmentId> Attachments::attach(registry::BusId bus, Attachment::Kind kind,
                                         std::string_view name, registry::Opener who) {
  if (!is_interface_name(name)) {
    return fail(EINVAL, "name of an interface");
  }
  LiveBus& live = *buses_.find(bus);
  if (live.ethernet == nullptr) {
    return fail(EOPNOTSUPP, "not an Ethernet bus");
  }
  if (find(bus, kind, name)) {
    return fail(EEXIST, "attachment");
  }
  const auto other =
      kind == Attachment::Kind::tap ? Attachment::Kind::interface : Attachment::Kind::tap;
  if (find(bus, other, name)) {
    return fail(EBUSY, "a port of this bus already, to which all would come back");
  }
  auto descriptor = files_.reserve(who.uid);
  if (!descriptor) {
    return std::unexpected(descriptor.error());
  }
  if (!closers_) {
    closers_ = std::make_unique<Workers>(loop_, "interfaces");
    buffer_.resize(bus::EthernetBus::kMostMessage);
  }
  auto made =
      std::make_unique<Attachment>(loop_, buses_, *closers_, buffer_, kind, std::string(name));
  if (const Status status = made->attach(live, who); !status) {
    return std::unexpected(status.error());
  }
  const AttachmentId id{next_++};
  attached_.emplace(id, Attached{bus, std::move(*descriptor), std::move(made)});
  return id;
}

Status Attachments::detach(registry::BusId bus, Attachment::Kind kind, std::string_view name) {
  const auto id = find(bus, kind, name);
  if (!id) {
    return fail(ENOENT, "attachment");
  }
  attached_.erase(*id);
  on_gone(*id);
  return {};
}

Attachment* Attachments::find(AttachmentId id) const {
  const auto found = attached_.find(id);
  return found == attached_.end() ? nullptr : found->second.attachment.get();
}

std::optional<AttachmentId> Attachments::find(registry::BusId bus, Attachment::Kind kind,
                                              std::string_view name) const {
  const auto found = std::ranges::find_if(attached_, [&](const auto& item) {
    const Attached& attached = item.second;
    return attached.bus == bus && attached.attachment->kind() == kind &&
           attached.attachment->name() == name;
  });
  return found == attached_.end() ? std::nullopt : std::optional(found->first);
}

std::optional<Attachments::Listed> Attachments::next(registry::BusId bus, Attachment::Kind kind,
                                                     AttachmentId first) const {
  for (auto it = attached_.lower_bound(first); it != attached_.end(); ++it) {
    if (it->second.bus == bus && it->second.attachment->kind() == kind) {
      return Listed{it->first, it->second.attachment.get()};
    }
  }
  return std::nullopt;
}

}  // namespace flowfs::fs
