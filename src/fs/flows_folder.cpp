// SPDX-License-Identifier: BSD-3-Clause
#include "fs/flows_folder.hpp"

#include <fmt/format.h>
#include <string.h>

#include <iterator>

#include "fs/attributes.hpp"

namespace flowfs::fs {
namespace {

// The files of flows/ID, in the order of Node::file.
enum FlowFile : std::uint8_t { directory, data, tx, rx, state, peer, ctl, stats, key };

constexpr FileSpec kFiles[] = {
    {"", FileType::directory, 0500},      {"data", FileType::message, 0600},
    {"tx", FileType::mapped, 0600},       {"rx", FileType::mapped, 0400},
    {"state", FileType::attribute, 0400}, {"peer", FileType::attribute, 0400},
    {"ctl", FileType::attribute, 0200},   {"stats", FileType::attribute, 0400},
    {"key", FileType::attribute, 0400},
};

registry::FlowId id_of(Node node) { return registry::FlowId{node.object}; }

// The subject of a certificate that was checked, or none.
std::string_view certificate_of_peer(const End& end) {
  const Admission* const admission = end.flow->admission.get();
  if (admission == nullptr) {
    return "none";
  }
  const std::string& subject =
      end.side == flow::Side::client ? admission->server : admission->client;
  return subject.empty() ? "none" : std::string_view(subject);
}

// What protects what the flow carries, and which ends have signed for it.
std::string format_security(const End& end) {
  const Admission* const admission = end.flow->admission.get();
  const auth::Choice choice = admission == nullptr ? auth::Choice{} : admission->choice;
  const bool client = admission != nullptr && !admission->client.empty();
  const bool server = admission != nullptr && !admission->server.empty();
  const char* const signers = client && server ? "both" : client ? "client" : "server";
  return fmt::format("cipher {}\nkey_exchange {}\nsigned {}\n", to_string(choice.cipher),
                     to_string(choice.key_exchange), client || server ? signers : "none");
}

// Of an end that waits, only the name it waits at.
std::string format_peer(const End& end, const registry::Registry& registry) {
  if (!end.flow) {
    const registry::Name* name = registry.find_name(registry.find_end(end.id)->name);
    return name != nullptr ? fmt::format("name {}\n", name->name) : "";
  }
  const auto other = static_cast<std::size_t>(flow::other(end.side));
  const registry::Opener& opener = end.flow->openers[other];
  const registry::Name* name = registry.find_name(end.flow->name);
  return fmt::format(
      "uid {}\ngid {}\npid {}\nflow {}\nname {}\ncertificate {}\n{}layer local\n", opener.uid,
      opener.gid, opener.pid, static_cast<std::uint64_t>(end.flow->ends[other]),
      name != nullptr ? name->name : "", certificate_of_peer(end), format_security(end));
}

// What the daemon has done for this end, and what the programs that mapped either end say. What a
// message was copied between its commit and the view of its receiver, whoever copied, is
// `copies_sent`; `copies` is this end's part in both directions.
std::string format_stats(const End& end) {
  flow::DirectionStats sent;
  flow::DirectionStats received;
  flow::EndCounters own;
  flow::EndCounters peers;
  std::size_t waiting = 0;
  if (end.flow) {
    flow::Channel& channel = end.flow->channel;
    sent = channel.stats(end.side);
    received = channel.stats(flow::other(end.side));
    own = channel.counters(end.side);
    peers = channel.counters(flow::other(end.side));
    waiting = channel.queued_bytes(end.side);
  }
  return fmt::format(
      "messages_sent {}\nbytes_sent {}\ncopies_sent {}\ncopies {}\nmessages_from_peer {}\n"
      "bytes_from_peer {}\ndrops {}\nbytes_queued {}\nreaders_waiting {}\nwriters_waiting {}\n"
      "waits {}\nwake_ups {}\nmtu {}\n",
      sent.messages, sent.bytes, sent.copies + own.sending.copies + peers.receiving.copies,
      sent.copies + own.sending.copies + own.receiving.copies, received.messages, received.bytes,
      sent.drops + peers.receiving.drops, waiting, end.readers.size(), end.writers.size(),
      end.readers.waits() + end.writers.waits() + own.sending.waits + own.receiving.waits,
      end.readers.wake_ups() + end.writers.wake_ups() + own.sending.wakeups + own.receiving.wakeups,
      end.flow ? end.flow->channel.limits().mtu_bytes : 0);
}

// The bytes of struct flowfs_key, as the reader wants them. Root passes over modes, and gets none.
Result<std::string> take_key(const End& end, uid_t by) {
  if (by != end.opener.uid || !end.flow) {
    return fail(EPERM, "the key of another");
  }
  auto taken = end.flow->channel.take_key(end.side);
  if (!taken) {
    return std::unexpected(taken.error());
  }
  std::string bytes(reinterpret_cast<const char*>(&*taken), sizeof *taken);
  ::explicit_bzero(&*taken, sizeof *taken);
  return bytes;
}

}  // namespace

FlowsFolder::FlowsFolder(registry::Registry& registry, Ends& ends, MappedEnds& mapped,
                         Replies& replies)
    : registry_(registry),
      ends_(ends),
      mapped_(mapped),
      replies_(replies),
      mounted_(wall_clock_now()) {}

bool FlowsFolder::exists(Node node) const {
  if (node.kind == Kind::segment) {
    return mapped_.find(node).has_value();
  }
  return node.kind == Kind::flows
             ? node.file == directory
             : node.file < std::size(kFiles) && ends_.find(id_of(node)) != nullptr;
}

Node FlowsFolder::lasting(Node node) const {
  if (node.kind != Kind::segment) {
    return node;
  }
  const MappedEnds::Seen seen = *mapped_.find(node);
  const std::uint8_t file = seen.view == View::tx ? tx : rx;
  return {Kind::flow, static_cast<std::uint64_t>(seen.end), file};
}

FileType FlowsFolder::type(Node node) const { return kFiles[lasting(node).file].type; }

std::uint64_t FlowsFolder::mapped_size(Node node) const {
  return node.kind == Kind::segment ? mapped_.bytes(node) : 0;
}

Meta FlowsFolder::defaults(Node node) const {
  if (node.kind == Kind::flows) {
    return {.mode = 0555, .acl = {}, .access = mounted_, .modified = mounted_, .changed = mounted_};
  }
  node = lasting(node);
  const End& end = *ends_.find(id_of(node));
  return {.mode = kFiles[node.file].mode,
          .uid = end.opener.uid,
          .gid = end.opener.gid,
          .acl = {},
          .access = end.born,
          .modified = end.born,
          .changed = end.born};
}

std::optional<Node> FlowsFolder::child(Node parent, std::string_view name) {
  if (parent.kind == Kind::flow) {
    return present(find_file(kFiles, parent, name));
  }
  const auto number = number_named(name, 1, (std::uint64_t{1} << 48) - 1);
  if (!number) {
    return std::nullopt;
  }
  const Node node{Kind::flow, *number, directory};
  ends_.mark_looked_up(node);
  return exists(node) ? std::optional(node) : std::nullopt;
}

// tx and rx stand for the segments there are now.
std::optional<Node> FlowsFolder::present(std::optional<Node> file) {
  if (!file || (file->file != tx && file->file != rx)) {
    return file;
  }
  const auto segment =
      mapped_.node(*ends_.find(id_of(*file)), file->file == tx ? View::tx : View::rx);
  return segment ? segment : file;
}

std::optional<Entry> FlowsFolder::child_from(Node parent, std::uint64_t cookie) {
  if (parent.kind == Kind::flow) {
    auto entry = file_from(kFiles, parent, cookie);
    if (entry) {
      entry->child.node = *present(entry->child.node);
    }
    return entry;
  }
  const auto id = registry_.end_from(registry::FlowId{cookie});
  if (!id) {
    return std::nullopt;
  }
  const auto number = static_cast<std::uint64_t>(*id);
  return Entry{{fmt::format("{}", number), Node{Kind::flow, number, directory}}, number + 1};
}

bool FlowsFolder::is_secret(Node file) const { return file.kind == Kind::flow && file.file == key; }

Result<std::string> FlowsFolder::value(Node file, uid_t by) {
  const End& end = *ends_.find(id_of(file));
  switch (file.file) {
    case state:
      return std::string(to_string(registry_.find_end(end.id)->state)) + "\n";
    case peer:
      return format_peer(end, registry_);
    case stats:
      return format_stats(end);
    case key:
      return take_key(end, by);
    default:
      return fail(EACCES, "ctl is written");
  }
}

Status FlowsFolder::set_value(Node file, std::string_view text, uid_t /*by*/) {
  if (file.file != ctl) {
    return fail(EACCES, "told, not set");
  }
  const auto verb = parse_flow_verb(text);
  if (!verb) {
    return std::unexpected(verb.error());
  }
  switch (*verb) {
    case FlowVerb::shutdown_read:
      return ends_.shutdown(id_of(file), true, false);
    case FlowVerb::shutdown_write:
      return ends_.shutdown(id_of(file), false, true);
    case FlowVerb::close:
      break;
  }
  return ends_.close(id_of(file));
}

Result<int> FlowsFolder::memory(Node file, bool writable, uid_t by) {
  if (file.kind != Kind::segment) {
    return fail(ENOTCONN, "an end that waits for its peer");
  }
  return mapped_.memory(file, writable, by);
}

void FlowsFolder::open(Request request, Node node, int flags) {
  if (node.kind == Kind::segment) {
    mapped_.open(request, node, flags);
  } else if (node.file == data) {
    ends_.open_data(request, node, flags, id_of(node));
  } else {
    replies_.error(request, ENOTCONN);  // tx or rx of an end that waits for its peer
  }
}

}  // namespace flowfs::fs
