# SPDX-License-Identifier: BSD-3-Clause
"""Ethernet frames, and network namespaces to send them between."""

import itertools
import os
import socket
import struct

import pytest
import sysc
from harness import read_values
from procs import sh, wait_for

BROADCAST = b"\xff" * 6
OURS = b"\x88\xb5"  # the type for experiments
ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 3, 263, 8, 0x10
_AUXDATA = struct.Struct("=IIIHHHH")
_numbers = itertools.count(1)


def station(number):
    return bytes([2, 0, 0, 0, 0, number])


def frame(to, source, *tags, payload=b"flowfs"):
    """With these tags (TCI each), the outermost first."""
    tagged = b"".join(b"\x81\x00" + tag.to_bytes(2, "big") for tag in tags)
    return to + source + tagged + OURS + payload.ljust(46, b"\0")


class Wire:
    """What an interface in a namespace sends and gets as it is, tags and all: a socket stays where it was made."""

    def __init__(self, namespace, interface):
        home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/self/ns/net", f"/run/netns/{namespace}"))
        sysc.setns(there)
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
            self.socket.bind((interface, ETH_P_ALL))
        finally:
            sysc.setns(home)
            os.close(there)
            os.close(home)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.got = []

    def has(self, *frame_of):
        """Whether this one has come, as (VLAN or None, payload)."""
        while True:
            try:
                data, aux, _, address = self.socket.recvmsg(2000, socket.CMSG_SPACE(_AUXDATA.size))
            except BlockingIOError:
                return frame_of in self.got
            status, _, _, _, _, tci, _ = _AUXDATA.unpack(aux[0][2])
            if data[12:14] == OURS and address[2] != socket.PACKET_OUTGOING:
                self.got.append((tci if status & TP_STATUS_VLAN_VALID else None, data[14:].rstrip(b"\0")))

    def send(self, payload, *tags):
        self.socket.send(frame(BROADCAST, station(9), *tags, payload=payload))


class Lab:
    """Namespaces and interfaces of one test, all gone with close()."""

    def __init__(self):
        self.namespaces = []
        self.links = []
        self.attached = []

    @staticmethod
    def name(what):
        """At most 15 bytes, and no other test's."""
        return f"f{os.getpid() % 100000}{what}{next(_numbers)}"

    def namespace(self):
        name = self.name("n")
        sh(f"ip netns add {name} && ip -n {name} link set lo up")
        self.namespaces.append(name)
        return name

    def veth(self):
        """Two interfaces, connected, of the daemon's own namespace."""
        one, other = self.name("v"), self.name("v")
        sh(f"ip link add {one} type veth peer name {other}")
        self.links.append(one)
        return one, other

    def attach(self, bus, folder, name):
        path = bus.file(folder, name)
        os.mkdir(path)
        self.attached.append(path)
        return path

    def tap(self, bus, namespace, address):
        """A TAP of the bus in a namespace, up and with an address. Its name."""
        name = self.name("t")
        self.attach(bus, "tap", name)
        self.move(name, namespace, address)
        return name

    @staticmethod
    def move(interface, namespace, address):
        sh(f"ip link set {interface} netns {namespace} && "
           f"ip -n {namespace} addr add {address}/24 dev {interface} && "
           f"ip -n {namespace} link set {interface} up")

    def detach(self, path):
        os.rmdir(path)
        self.attached.remove(path)

    def close(self):
        for path in list(self.attached):
            self.detach(path)
        for link in self.links:
            sh(f"ip link del {link}", check=False)
        for name in self.namespaces:
            sh(f"ip netns del {name}")


def wait_answer(namespace, address):
    """Until a ping is answered: interfaces that were just set up drop what comes first."""
    wait_for(lambda: sh(f"ip netns exec {namespace} ping -q -c 1 -W 1 {address}",
                        check=False).status == 0, f"an answer from {address}")


def wait_state(path, state):
    wait_for(lambda: read_values(os.path.join(path, "stats"))["state"] == state, state)


@pytest.fixture
def lab():
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("there is no /dev/net/tun")
    made = Lab()
    yield made
    made.close()
