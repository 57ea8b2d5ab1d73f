// SPDX-License-Identifier: BSD-3-Clause
// Network interfaces of this machine as descriptors that give and take whole Ethernet frames.
//
// Each frame has the kernel's offload header before it (struct virtio_net_hdr, 10 bytes), both
// ways: it says which checksums are still to be filled in, and that a frame stands for several TCP
// segments. Descriptors are O_NONBLOCK.
// Threads: any.
// Errors: those of the calls that are made; EPERM without CAP_NET_ADMIN (a TAP) or CAP_NET_RAW (an
// interface that is there).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace flowfs {

// Whether the kernel could give an interface this name: 1 to 15 bytes, no `/`, no white space. Also
// without `:`, which is for aliases, and `%`, by which the kernel chooses a name itself.
bool is_interface_name(std::string_view name);

// A TAP: made with that name, and taken away with the descriptor. It is down until somebody sets it
// up. Errors: EBUSY another program has it; EINVAL something else has that name.
Result<Fd> open_tap(const std::string& name);

// The frames that come to an interface, all of them (promiscuous), but not those that leave
// through it. Errors: ENODEV there is none; EMEDIUMTYPE it is no Ethernet.
Result<Fd> open_interface(const std::string& name);

// Whether the interface behind a descriptor has been taken away, where an error says that it is
// down.
bool is_gone(const Fd& interface);

// Frames that came while those before had not been taken, since this was last asked; 0 of a TAP,
// which keeps the sender waiting or counts by itself.
std::uint64_t take_missed(const Fd& interface);

struct Received {
  std::size_t bytes = 0;      // with the header
  bool tag_put_back = false;  // a VLAN tag that the network card had taken out: the header is still
                              // that of the frame without it
};

// One frame with its header, cut where it is longer than `buffer`. Errors: EAGAIN none is there;
// ENETDOWN or EIO the interface is down; else it has gone.
Result<Received> receive_from_tap(const Fd& tap, std::span<std::byte> buffer);
Result<Received> receive_from_interface(const Fd& interface, std::span<std::byte> buffer);

}  // namespace flowfs
