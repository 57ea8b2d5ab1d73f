// SPDX-License-Identifier: BSD-3-Clause
// Ends of flows in the tree: joins the registry's end, the channel with its data, the requests that
// wait for it and the descriptors that show it.
//
// Threads: the loop's.
// Invariants:
//   1. There is an End for every end of the registry, and the reverse.
//   2. A request waits in `readers` only while its side of the channel has nothing for it, and in
//   `writers` only while
//      the channel has no room; pump() restores this after every change.
//   3. The bytes that a channel holds for a side are charged to the uid of that side.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "flow/channel.hpp"
#include "fs/file_table.hpp"
#include "fs/handshakes.hpp"
#include "fs/message_rules.hpp"
#include "fs/parking.hpp"
#include "fs/pool_lanes.hpp"
#include "registry/registry.hpp"

namespace flowfs::fs {

class Ends;
class EventLog;

// Where a side's part stands in what both sides have.
constexpr std::size_t index(flow::Side side) { return static_cast<std::size_t>(side); }

class SegmentNode;

// What the two ends of a flow share. It lives until both are gone.
struct Flow : flow::Listener, std::enable_shared_from_this<Flow> {
  Flow(Ends& owner, flow::Limits limits, registry::NameId name_id);
  ~Flow() override;
  // A mapped end has done something that a file end waits for.
  void on_mapped_peer_activity(flow::Channel& which) override;

  Ends& table;
  flow::Channel channel;
  PoolLanes pool_lanes{channel};
  registry::NameId name;
  bool direct = true;                                              // whether its ends may be mapped
  registry::FlowId ends[2]{registry::kNoFlow, registry::kNoFlow};  // by Side
  registry::Opener openers[2];
  std::unique_ptr<const Admission> admission;     // null where no handshake was asked for
  std::uint64_t charged_bytes[2]{};               // of what each side sent
  std::unique_ptr<SegmentNode> segment_nodes[2];  // of each side's segment, once it was looked up
  registry::Charge segment_charge;
};

class MessageFile;

struct End {
  End(registry::FlowId flow_id, flow::Side which, Parking& parking,
      std::function<void()> on_open_cancelled)
      : id(flow_id),
        side(which),
        opening(parking, std::move(on_open_cancelled)),
        readers(parking),
        writers(parking) {}

  registry::FlowId id;
  flow::Side side;
  registry::Opener opener;
  timespec born{};
  std::shared_ptr<Flow> flow;            // null while pending
  std::unique_ptr<Admission> admission;  // of a client that is pending
  Waits opening;                         // the open that made it, while it waits
  Waits readers;
  Waits writers;
  std::vector<MessageFile*> files;
  bool wants_room = false;  // a writer or poller found the channel full
  bool wants_data = false;  // a poller found nothing to read
  bool looked_up = false;   // the kernel may have cached its directory
};

// A dial whose handshake is under way. There is no end of it yet. One whose name is renamed
// meanwhile asks again: policies are those of a text.
struct Asking {
  Asking(Parking& parking, std::function<void()> on_open_cancelled)
      : opening(parking, std::move(on_open_cancelled)) {}

  registry::NameId name{};
  uid_t uid = 0;
  GivenSecurity given;
  std::string text;  // of the name, when it was asked
  Waits opening;
};

// An open message file: `accept` or `dial` (its owner), or `data`.
class MessageFile : public File {
 public:
  MessageFile(Ends& ends, Replies& replies, Node node, int flags, registry::FlowId end, bool owner)
      : File(replies, node, flags), ends_(ends), end_(end), owner_(owner) {}
  ~MessageFile() override;

  void read(Request request, std::size_t size, const Transfer& transfer) override;
  void write(Request request, std::span<const std::byte> data, const Transfer& transfer) override;
  void ioctl(Request request, unsigned command, std::span<const std::byte> in,
             std::size_t out_size) override;
  unsigned ready() override;

  [[nodiscard]] registry::FlowId end() const { return end_; }
  [[nodiscard]] bool owner() const { return owner_; }

 private:
  friend class Ends;
  Ends& ends_;
  registry::FlowId end_;
  bool owner_;
  MessageRules rules_;
};

class Ends {
 public:
  Ends(Loop& loop, registry::Registry& registry, registry::Users& users, Parking& parking,
       FileTable& files, EventLog& events, Replies& replies, Handshakes& handshakes);
  ~Ends();

  // Opens names/NAME/dial or accept: answers, or parks. `given`: what is set for the name.
  void open_end(Request request, Node node, int flags, registry::NameId name, flow::Side side,
                const GivenSecurity& given);
  // Opens flows/ID/data.
  void open_data(Request request, Node node, int flags, registry::FlowId id);

  [[nodiscard]] End* find(registry::FlowId id) const;
  // The kernel was told of the directory flows/ID (and may cache it), if `node` is one.
  void mark_looked_up(Node node);
  Status shutdown(registry::FlowId id, bool reading, bool writing);
  Status close(registry::FlowId id);

  // For MappedEnds: the end's file side is out of use, or in use again.
  void on_attached(End& end);
  void on_detached(End& end);
  // FLOWFS_STATE_* of an end; deallocated where there is none.
  [[nodiscard]] std::uint32_t state_of(registry::FlowId id) const;
  // Writes both ends' states where a program may have mapped them.
  void show_states(Flow& flow);

  // Does what the registry asks for after any change, and sets its timer.
  void drain_effects();
  // Ends every wait; opens get `error`.
  void abort_all(int error);

  // Runs when an end has gone; `looked_up`: the kernel may have cached its directory.
  std::function<void(registry::FlowId, bool looked_up)> on_end_gone;

 private:
  friend class MessageFile;
  friend struct Flow;
  void read(MessageFile& file, Request request, std::size_t size, const Transfer& transfer);
  void write(MessageFile& file, Request request, std::span<const std::byte> data,
             const Transfer& transfer);
  unsigned ready(MessageFile& file);
  void closed(MessageFile& file);

  // Runs the handshake first, and joins when it has let the dial through.
  void ask(Request request, Node node, int flags, registry::NameId name, const GivenSecurity& given,
           registry::Charge descriptor);
  bool try_handshake(std::uint64_t serial, const Asking& asking);
  void answered(std::uint64_t serial, Admission admission);
  // Makes the end, and pairs it or waits.
  void join(Request request, Node node, int flags, registry::NameId name, flow::Side side,
            registry::Charge descriptor, std::unique_ptr<Admission> admission);
  // The end may be gone afterwards, where its opener is.
  void finish_open(End& end, Request request, Node node, int flags, registry::Charge descriptor);
  void connect(End& end, registry::FlowId peer_id);
  void release(registry::FlowId id);  // the End is gone afterwards
  void failed(registry::FlowId id, int error);
  // The errno that keeps `end` from moving data: 0 none, EAGAIN while it is pending.
  [[nodiscard]] int obstacle(const End& end) const;

  bool serve_reader(End& end);
  bool serve_writer(End& end);
  void pump(Flow& flow, flow::Side from);
  void pump_both(Flow& flow);
  // Where the peer is mapped: asks to be told when what this end waits for may be there.
  void wait_for_mapped_peer(End& end);
  bool answer_read(End& end, Request request, const MessageFile& file, std::size_t size);
  void park_write(End& end, MessageFile& file, Request request, std::span<const std::byte> data);
  bool pass_to_reader(End& end, std::span<const std::byte> data);
  // 0, or the errno; EAGAIN: no room now.
  int try_write(End& end, std::span<const std::byte> data);
  void count(const End& end, std::size_t bytes);
  void settle(Flow& flow, flow::Side from);
  static void notify(End& end);
  End* peer_of(const End& end);

  registry::Registry& registry_;
  registry::Users& users_;
  Parking& parking_;
  FileTable& files_;
  EventLog& events_;
  Replies& replies_;
  Handshakes& handshakes_;
  Loop::Timer timer_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Asking>> asking_;
  std::uint64_t last_asking_ = 0;
  std::unordered_map<registry::FlowId, std::unique_ptr<End>> ends_;
  std::size_t most_ends_ = 0;  // since there were none
};

}  // namespace flowfs::fs
