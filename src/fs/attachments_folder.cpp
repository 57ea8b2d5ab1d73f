// SPDX-License-Identifier: BSD-3-Clause
#include "fs/attachments_folder.hpp"

#include <utility>

#include "fs/bus_values.hpp"

namespace flowfs::fs {
namespace {

// The files of an attachment.
constexpr FileSpec kFiles[] = {
    {"", FileType::directory, 0755},
    {"stats", FileType::attribute, 0444},
};

registry::BusId bus_of(Node node) { return registry::BusId{node.object}; }

AttachmentId id_of(Node node) { return AttachmentId{node.object}; }

Node node_of(AttachmentId id) { return {Kind::attachment, std::to_underlying(id), 0}; }

Attachment::Kind kind_of(Node folder) {
  return folder.file == tap ? Attachment::Kind::tap : Attachment::Kind::interface;
}

}  // namespace

bool AttachmentsFolder::has(Node node) {
  return node.kind == Kind::attachment ||
         (node.kind == Kind::bus && (node.file == tap || node.file == grab));
}

bool AttachmentsFolder::exists(Node node) const {
  if (node.kind == Kind::bus) {
    return buses_.find(bus_of(node)) != nullptr;
  }
  return node.file < std::size(kFiles) && attachments_.find(id_of(node)) != nullptr;
}

FileType AttachmentsFolder::type(Node node) const {
  return node.kind == Kind::bus ? FileType::directory : kFiles[node.file].type;
}

// Root's, whoever's the bus is.
Meta AttachmentsFolder::defaults(Node node) const {
  return {.mode = node.kind == Kind::bus ? mode_t{0755} : kFiles[node.file].mode,
          .acl = {},
          .access = mounted_,
          .modified = mounted_,
          .changed = mounted_};
}

std::optional<Node> AttachmentsFolder::child(Node directory, std::string_view name) {
  if (directory.kind == Kind::attachment) {
    return find_file(kFiles, directory, name);
  }
  const auto found = attachments_.find(bus_of(directory), kind_of(directory), name);
  return found ? std::optional(node_of(*found)) : std::nullopt;
}

std::optional<Entry> AttachmentsFolder::child_from(Node directory, std::uint64_t cookie) {
  if (directory.kind == Kind::attachment) {
    return file_from(kFiles, directory, cookie);
  }
  const auto found = attachments_.next(bus_of(directory), kind_of(directory), AttachmentId{cookie});
  if (!found) {
    return std::nullopt;
  }
  return Entry{{found->attachment->name(), node_of(found->id)}, std::to_underlying(found->id) + 1};
}

Result<std::string> AttachmentsFolder::value(Node file, uid_t /*by*/) {
  Attachment& attachment = *attachments_.find(id_of(file));
  return format_attachment(attachment, buses_.registry().find_port(attachment.port()));
}

void AttachmentsFolder::open(Request request, Node /*node*/, int /*flags*/) {
  fuse_reply_err(request.raw, ENXIO);  // there is nothing to open but attributes
}

Result<Node> AttachmentsFolder::make_directory(Node directory, std::string_view name,
                                               mode_t /*mode*/, registry::Opener who) {
  if (directory.kind == Kind::attachment) {
    return fail(EPERM, "objects have no directories of their own");
  }
  const auto id = attachments_.attach(bus_of(directory), kind_of(directory), name, who);
  if (!id) {
    return std::unexpected(id.error());
  }
  return node_of(*id);
}

Status AttachmentsFolder::remove_directory(Node directory, std::string_view name, uid_t /*by*/) {
  if (directory.kind == Kind::attachment) {
    return keep_child(directory, name);
  }
  return attachments_.detach(bus_of(directory), kind_of(directory), name);
}

}  // namespace flowfs::fs
