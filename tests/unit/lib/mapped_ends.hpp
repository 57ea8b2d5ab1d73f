// SPDX-License-Identifier: BSD-3-Clause
// Both ends of a mapped flow in this process, each segment mapped once, with the part of the daemon
// played by the test: what tests of the library without a mount share.
#pragma once

#include <array>
#include <memory>

#include "../pool/pool_fixture.hpp"
#include "base/fd.hpp"
#include "lib/mapped_receiver.hpp"
#include "lib/mapped_sender.hpp"
#include "pool/shared.hpp"

namespace flowfs::lib::test {

inline constexpr std::uint64_t kFirstFlow = 11;

class MappedFlow {
 public:
  // `policy` of both ends. Blocks are of 4096 and 65536 bytes.
  explicit MappedFlow(std::size_t mtu, SpinPolicy policy = SpinPolicy::never,
                      std::size_t hot_bytes = 4'096)
      : geometry_(pool::Geometry::plan(mtu, 0, hot_bytes).value()),
        pool_(pool::test::pool_geometry({{4'096, 40}, {65'536, 20}})),
        member_(std::make_shared<PoolMember>(pool_.memory.geometry(), pool_.memory.bytes(),
                                             pool_.keeper.issue_holder().value(),
                                             pool::test::kSerial)),
        attachments_{attach(0), attach(1)} {
    for (std::size_t side = 0; side < 2; ++side) {
      attachments_[side].first_peer = std::make_shared<const PeerSegment>(
          Mapping{}, attachments_[1 - side].tx.bytes(), pool::Generation{1});
      slot(side).flow = kFirstFlow + side;
      slot(side).peer_generation = 1;
      slot(side).closed_at = FLOWFS_LANE_OPEN;
      ends_[side] = std::make_unique<End>(attachments_[side], policy);
    }
  }

  struct End {
    End(const Attachment& attachment, SpinPolicy policy)
        : sender(attachment, SpinBudget(policy, false)),
          receiver(attachment, SpinBudget(policy, false)) {}
    MappedSender sender;
    MappedReceiver receiver;
  };
  End& one() { return *ends_[0]; }
  End& two() { return *ends_[1]; }
  void close_end(std::size_t side) { ends_[side].reset(); }
  flowfs_status& slot(std::size_t side) { return *slots_[side]; }
  flowfs_segment& segment(std::size_t side) { return attachments_[side].own(); }
  pool::test::Pool& pool() { return pool_; }
  [[nodiscard]] const std::shared_ptr<PoolMember>& member() const { return member_; }

  // From the first message on, as after attaching to a flow that is encrypted. The mtu is that of
  // records then.
  void encrypt(const auth::RekeyLimits& limits) {
    for (std::size_t side = 0; side < 2; ++side) {
      flowfs_key key{};
      key.cipher = static_cast<std::uint8_t>(auth::Cipher::aes_256_gcm);
      key.digest = static_cast<std::uint8_t>(auth::Digest::sha256);
      key.last_epoch = limits.last_epoch;
      key.sending[0] = static_cast<std::uint8_t>(side);
      key.receiving[0] = static_cast<std::uint8_t>(1 - side);
      attachments_[side].answer.overhead_bytes = auth::kRecordOverhead;
      attachments_[side].sealed = std::move(*seal_with(key, limits));
      attachments_[side].seat.reset();
    }
  }
  Attachment& attachment(std::size_t side) { return attachments_[side]; }

  // As the daemon does once both have joined, or one has left.
  void share_pool(bool shared) {
    for (std::size_t side = 0; side < 2; ++side) {
      pool::shared(slot(side).pool)
          .store(shared ? pool::test::kSerial : 0, std::memory_order_release);
    }
  }

 private:
  static Mapping map(std::size_t bytes) {
    const auto fd = make_sealed_memfd("test", bytes, bytes);
    return Mapping::map(fd.value(), bytes, Mapping::Access::read_write).value();
  }
  Attachment attach(std::size_t side) {
    Attachment made;
    made.geometry = geometry_;
    made.answer.flow = kFirstFlow + side;
    made.answer.generation = 1;
    made.tx = map(geometry_.segment_bytes());
    made.slot = slots_[side];
    made.seat = PoolSeat{.member = member_, .lane = pool_.keeper.issue_lane().value()};
    return made;
  }

  pool::Geometry geometry_;
  pool::test::Pool pool_;
  std::shared_ptr<PoolMember> member_;
  std::array<std::shared_ptr<flowfs_status>, 2> slots_ = {std::make_shared<flowfs_status>(),
                                                          std::make_shared<flowfs_status>()};
  std::array<Attachment, 2> attachments_;
  std::array<std::unique_ptr<End>, 2> ends_;
};

}  // namespace flowfs::lib::test
