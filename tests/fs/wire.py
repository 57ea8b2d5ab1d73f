# SPDX-License-Identifier: BSD-3-Clause
"""The ioctls of message files. Their numbers come from include/flowfs/wire.h, through a program."""

import fcntl
import functools
import struct
import subprocess

from harness import program


@functools.cache
def numbers():
    """Constants of wire.h by name."""
    out = subprocess.run([program("wire_numbers")], capture_output=True, text=True, check=True)
    return {key: int(value, 0) for key, value in (line.split() for line in out.stdout.splitlines())}


def flow_id(fd):
    """The ID of the end that a message descriptor is."""
    buffer = bytearray(8)
    fcntl.ioctl(fd, numbers()["FLOWFS_IOC_ID"], buffer)
    return struct.unpack("=Q", buffer)[0]


def state_number(fd):
    """FLOWFS_STATE_* of the end that a message descriptor is."""
    buffer = bytearray(4)
    fcntl.ioctl(fd, numbers()["FLOWFS_IOC_STATE"], buffer)
    return struct.unpack("=I", buffer)[0]


def set_packet_mode(fd, on=True):
    fcntl.ioctl(fd, numbers()["FLOWFS_IOC_PACKET"], struct.pack("=I", on))


def skip(fd):
    """How many messages a member of a bus drops to have only the newest left to read."""
    buffer = bytearray(8)
    fcntl.ioctl(fd, numbers()["FLOWFS_IOC_SKIP"], buffer)
    return struct.unpack("=Q", buffer)[0]


def attach(fd):
    fcntl.ioctl(fd, numbers()["FLOWFS_IOC_ATTACH"], 0)
