# SPDX-License-Identifier: BSD-3-Clause
"""A member of a pool in the plainest way, as include/flowfs/wire.h lays it out.

It changes owner words with plain stores, so it must be the only member that does at the time.
"""

import fcntl
import mmap
import os
import struct

import wire
from harness import close, track

FREE, HELD, IN_FLIGHT = 0, 1, 2
_ATTACH = struct.Struct("=IIQQQQIIII")
_FIELDS = ["version", "holder", "serial", "pool_bytes", "words_offset", "hints_offset", "blocks", "classes",
           "shards", "populated"]
_CLASS = struct.Struct("=QII")
_LANE = struct.Struct("=QII")
MOST_CLASSES = 16


def join(fd):
    """What FLOWFS_IOC_POOL answers, and its table of classes."""
    buffer = bytearray(_ATTACH.size + MOST_CLASSES * _CLASS.size)
    assert len(buffer) == wire.numbers()["POOL_ATTACH_BYTES"]
    fcntl.ioctl(fd, wire.numbers()["FLOWFS_IOC_POOL"], buffer)
    answer = dict(zip(_FIELDS, _ATTACH.unpack_from(buffer)))
    table = [_CLASS.unpack_from(buffer, _ATTACH.size + i * _CLASS.size) for i in range(answer["classes"])]
    return answer, table


def join_end(pool_fd, flow):
    """The number of the lane that an end sends blocks on."""
    buffer = bytearray(_LANE.pack(flow, 0, 0))
    fcntl.ioctl(pool_fd, wire.numbers()["FLOWFS_IOC_POOL_LANE"], buffer)
    return _LANE.unpack(buffer)[1]


def want_class(pool_fd, index, exhausted=False):
    flag = wire.numbers()["FLOWFS_POOL_EXHAUSTED"] if exhausted else 0
    fcntl.ioctl(pool_fd, wire.numbers()["FLOWFS_IOC_POOL_CLASS"], struct.pack("=I", index | flag))


class Member:
    """pools/NAME, opened and joined."""

    def __init__(self, daemon, name):
        self.fd = track(os.open(daemon.path("pools", str(name)), os.O_RDWR))
        self.answer, self.classes = join(self.fd)
        # Tells the daemon whose closing ends the membership: ours, not that of a forked child's copy.
        os.close(os.dup(self.fd))
        self.holder, self.serial = self.answer["holder"], self.answer["serial"]
        self.memory = mmap.mmap(self.fd, self.answer["pool_bytes"], mmap.MAP_SHARED)

    def word(self, block):
        """(state, number, generation) of a block."""
        bits, = struct.unpack_from("=Q", self.memory, self._place(block))
        return bits & 0xFF, bits >> 8 & 0xFFFFFF, bits >> 32

    def set_word(self, block, state, number, generation):
        struct.pack_into("=Q", self.memory, self._place(block), state | number << 8 | generation << 32)

    def _place(self, block):
        return self.answer["words_offset"] + 8 * block

    def blocks_of(self, index):
        first = sum(blocks for _, _, blocks in self.classes[:index])
        return range(first, first + self.classes[index][2])

    def allocate(self, index, payload=b""):
        """A block of that class, held, with `payload` in it."""
        want_class(self.fd, index)
        block = next(block for block in self.blocks_of(index) if self.word(block)[0] == FREE)
        self.set_word(block, HELD, self.holder, self.word(block)[2])
        offset, size, _ = self.classes[index]
        place = offset + size * (block - self.blocks_of(index)[0])
        self.memory[place:place + len(payload)] = payload
        return block

    def hand_over(self, block, lane):
        """Puts it on its way; the generation for the record."""
        generation = self.word(block)[2] + 1 & 0xFFFFFFFF
        self.set_word(block, IN_FLIGHT, lane, generation)
        return generation

    def send(self, end, lane, payload, index=1):
        """Sends a message of a mapped end in a block; which block it was."""
        block = self.allocate(index, payload)
        end.send_block(self.serial, block, self.hand_over(block, lane), 0, len(payload))
        return block

    def join_end(self, end):
        return join_end(self.fd, end.at["flow"])

    def close(self):
        self.memory.close()  # it has a descriptor of its own
        close(self.fd)
