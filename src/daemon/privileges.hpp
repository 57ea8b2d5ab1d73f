// SPDX-License-Identifier: BSD-3-Clause
// What a daemon that was started as root gives up once it has mounted.
//
// It stays uid 0: the memfds it makes are root's, and their modes keep every client out. Of the
// capabilities it keeps CAP_SYS_ADMIN, which the kernel asks for each time a file is registered for
// passthrough, and for the unmount at the end; CAP_NET_ADMIN and CAP_NET_RAW, to make a TAP and to
// take the frames of an interface when root attaches one to a bus. Not in effect, but in reserve
// for one step, is CAP_DAC_OVERRIDE: writing to the sockets of VDE clients (fs/client_socket.hpp).
// It stays dumpable, on purpose: a core dump of uid 0 is readable by root alone, the clients'
// memory is left out of it (MADV_DONTDUMP), and another process of uid 0 without our capability
// cannot trace us. A rootless daemon belongs to its user, who may look into it.
//
// Threads: capabilities belong to a thread; later ones inherit them. To be called before there is a
// second one.
#pragma once

#include <cstdint>

#include "base/result.hpp"

namespace flowfs::daemon {

// Reduces the permitted, effective, inheritable, ambient and bounding sets, and sets no_new_privs.
// Errors: those of capset(2) and prctl(2).
Status drop_privileges();

// A daemon without root has nothing to give up, and must not set no_new_privs: it unmounts through
// the setuid helper of FUSE. This drops capabilities it may have been given all the same.
Status drop_privileges_rootless();

// Raises the soft limit of descriptors to the hard one, and returns it.
Result<std::uint64_t> raise_descriptor_limit();

}  // namespace flowfs::daemon
