// SPDX-License-Identifier: BSD-3-Clause
#include "base/interface.hpp"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace flowfs {
namespace {

constexpr std::size_t kBeforeTag = 10 + 12;  // struct virtio_net_hdr, and a frame's addresses
constexpr std::size_t kTagBytes = 4;
// A frame that stands for many segments counts here as 64 KiB and more, and comes with others.
constexpr int kReceiveBytes = 8 << 20;

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::ranges::copy(name, request.ifr_name);  // shorter than IFNAMSIZ: is_interface_name()
  return request;
}

Status set_option(const Fd& socket, int option, int value, const char* context) {
  if (::setsockopt(socket.get(), SOL_PACKET, option, &value, sizeof(value)) != 0) {
    return fail_errno(context);
  }
  return {};
}

Status check_is_ethernet(const Fd& socket, const std::string& name) {
  ifreq request = request_for(name);
  if (::ioctl(socket.get(), SIOCGIFHWADDR, &request) != 0) {
    return fail_errno("SIOCGIFHWADDR");
  }
  return request.ifr_hwaddr.sa_family == ARPHRD_ETHER ? Status{} : fail(EMEDIUMTYPE, "interface");
}

// More than others may have; where that is refused it has what they have.
void ask_for_room(const Fd& socket) {
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof(kReceiveBytes));
}

Status be_promiscuous(const Fd& socket, int index) {
  packet_mreq membership{};
  membership.mr_ifindex = index;
  membership.mr_type = PACKET_MR_PROMISC;
  if (::setsockopt(socket.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership,
                   sizeof(membership)) != 0) {
    return fail_errno("PACKET_ADD_MEMBERSHIP");
  }
  return {};
}

Status bind_to(const Fd& socket, int index) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = index;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail_errno("bind to an interface");
  }
  return {};
}

// The tag that the card took out of the frame, where it did.
const tpacket_auxdata* tag_of(const msghdr& message) {
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_PACKET ||
      header->cmsg_type != PACKET_AUXDATA || header->cmsg_len < CMSG_LEN(sizeof(tpacket_auxdata))) {
    return nullptr;
  }
  const auto* const data = reinterpret_cast<const tpacket_auxdata*>(CMSG_DATA(header));
  return (data->tp_status & TP_STATUS_VLAN_VALID) != 0 ? data : nullptr;
}

}  // namespace

bool is_interface_name(std::string_view name) {
  return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
         std::ranges::all_of(
             name,
             [](char c) { return c > ' ' && c < '\x7f' && c != '/' && c != ':' && c != '%'; });
}

Result<Fd> open_tap(const std::string& name) {
  Fd tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap) {
    return fail_errno("/dev/net/tun");
  }
  ifreq request = request_for(name);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) {
    return fail_errno("TUNSETIFF");
  }
  constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (::ioctl(tap.get(), TUNSETOFFLOAD, kOffloads) != 0) {
    return fail_errno("TUNSETOFFLOAD");
  }
  return tap;
}

Result<Fd> open_interface(const std::string& name) {
  // Without a protocol it gets nothing before it is bound to its interface.
  Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno("AF_PACKET");
  }
  const auto index = static_cast<int>(::if_nametoindex(name.c_str()));
  if (index == 0) {
    return fail_errno("interface");
  }
  ask_for_room(socket);
  // After one that fails the others are tried in vain, and do no harm.
  for (const Status& step :
       {check_is_ethernet(socket, name), set_option(socket, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR"),
        set_option(socket, PACKET_AUXDATA, 1, "PACKET_AUXDATA"),
        set_option(socket, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING"),
        be_promiscuous(socket, index), bind_to(socket, index)}) {
    if (!step) {
      return std::unexpected(step.error());
    }
  }
  return socket;
}

bool is_gone(const Fd& interface) {
  sockaddr_ll address{};
  socklen_t bytes = sizeof(address);
  // A TAP is no socket, and says of itself that it has gone.
  return ::getsockname(interface.get(), reinterpret_cast<sockaddr*>(&address), &bytes) == 0 &&
         address.sll_ifindex < 0;
}

std::uint64_t take_missed(const Fd& interface) {
  tpacket_stats counts{};
  socklen_t bytes = sizeof(counts);
  // A TAP is no socket.
  return ::getsockopt(interface.get(), SOL_PACKET, PACKET_STATISTICS, &counts, &bytes) == 0
             ? counts.tp_drops
             : 0;
}

Result<Received> receive_from_tap(const Fd& tap, std::span<std::byte> buffer) {
  const ssize_t bytes = ::read(tap.get(), buffer.data(), buffer.size());
  if (bytes < 0) {
    return fail_errno("read from a TAP");
  }
  return Received{.bytes = static_cast<std::size_t>(bytes)};
}

Result<Received> receive_from_interface(const Fd& interface, std::span<std::byte> buffer) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(tpacket_auxdata))> control{};
  iovec part{buffer.data(), buffer.size() - kTagBytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t received = ::recvmsg(interface.get(), &message, 0);
  if (received < 0) {
    return fail_errno("receive from an interface");
  }
  const auto bytes = static_cast<std::size_t>(received);
  const tpacket_auxdata* const tag = tag_of(message);
  if (tag == nullptr || bytes < kBeforeTag) {
    return Received{.bytes = bytes};
  }
  std::memmove(buffer.data() + kBeforeTag + kTagBytes, buffer.data() + kBeforeTag,
               bytes - kBeforeTag);
  const std::array<std::uint16_t, 2> words{htons(tag->tp_vlan_tpid), htons(tag->tp_vlan_tci)};
  std::memcpy(buffer.data() + kBeforeTag, words.data(), kTagBytes);
  return Received{.bytes = bytes + kTagBytes, .tag_put_back = true};
}

}  // namespace flowfs
