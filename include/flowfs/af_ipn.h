/* SPDX-License-Identifier: BSD-3-Clause
 *
 * AF_IPN: sockets of Inter Process Networking, for programs that run with libflowfs-ipn.so
 * preloaded. flowfs-ipn(7) says what each of them does to a bus.
 *
 * Source: the names and the numbers of the options and protocols are those of the IPN patch for
 * Linux (Davoli, 2007), so that its programs compile. */
#ifndef FLOWFS_AF_IPN_H
#define FLOWFS_AF_IPN_H

/* IPN was never given a number. This one is beyond all that a kernel could have (they are less than
 * 256), so that without the library socket() fails with EAFNOSUPPORT and never means another
 * family. */
#define AF_IPN 0x4950
#define PF_IPN AF_IPN

/* The protocols of socket(AF_IPN, SOCK_RAW, ...): the policy of the bus. */
#define IPN_ANY 0 /* whatever the bus has: to connect only */
#define IPN_BROADCAST 1
#define IPN_HUB 1
#define IPN_VDESWITCH 2

/* The options of getsockopt and setsockopt, level 0, each an int. Those with IPN_SO_PREBIND say
 * what the bus will be like that bind makes, and cannot be set afterwards. */
#define IPN_SO_PREBIND 0x80
#define IPN_SO_PORT 0
#define IPN_SO_CHANGE_NUMNODES 2
#define IPN_SO_MTU (IPN_SO_PREBIND | 0)
#define IPN_SO_NUMNODES (IPN_SO_PREBIND | 1)
#define IPN_SO_MSGPOOLSIZE (IPN_SO_PREBIND | 2)
#define IPN_SO_FLAGS (IPN_SO_PREBIND | 3)
#define IPN_SO_MODE (IPN_SO_PREBIND | 4)

#define IPN_PORTNO_ANY (-1)

#define IPN_FLAG_LOSSLESS 1

#endif
