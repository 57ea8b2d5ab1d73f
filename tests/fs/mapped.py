# SPDX-License-Identifier: BSD-3-Clause
"""A mapped end in the plainest way: one record at a time, as include/flowfs/wire.h lays it out.

Stores are in program order and each word is written by one side; on this test's machines (x86) and in
CPython, which does one bytecode after the other, that is enough.
"""

import ctypes
import fcntl
import mmap
import os
import struct

import wire
from harness import track
from procs import wait_for

_ATTACH = struct.Struct("=IIQQQQ QQQ QQQ QQ IIIIII")
_FIELDS = ["version", "status_slot", "flow", "peer_flow", "generation", "peer_generation", "write_hot",
           "write_bulk", "write_sequence", "read_hot", "read_bulk", "read_sequence", "bulk_offset",
           "bulk_bytes", "hot_offset", "hot_bytes", "inline_bytes", "mtu_bytes", "uid", "overhead_bytes"]
_RECORD = struct.Struct("=IHHQ")
_PADDING = 0x80000000
_RECORD_BLOCK = 2
_BLOCK = struct.Struct("=QIIII")
_STATUS_BYTES, _STATUS_POOL = 128, 64
_GENERATION = 16
_BELL, _SLEEP_DATA, _CURSORS = 128, 256, 384
_SYS_FUTEX, _FUTEX_WAKE = 202, 1


class Attached(dict):
    """What FLOWFS_IOC_ATTACH answers."""

    def __init__(self, fd):
        buffer = bytearray(_ATTACH.size)
        assert len(buffer) == wire.numbers()["ATTACH_BYTES"]
        fcntl.ioctl(fd, wire.numbers()["FLOWFS_IOC_ATTACH"], buffer)
        super().__init__(zip(_FIELDS, _ATTACH.unpack(buffer)))


class MappedEnd:
    """The end of a message descriptor, put into mapped mode."""

    def __init__(self, daemon, fd):
        self.folder = daemon.path("flows", str(wire.flow_id(fd)))
        self.tx_fd = track(os.open(os.path.join(self.folder, "tx"), os.O_RDWR))
        self.at = Attached(self.tx_fd)
        self._status = daemon.path("users", str(self.at["uid"]), "status")
        # Tells the daemon whose closing ends the mode: ours, not that of a forked child's copy.
        os.close(os.dup(self.tx_fd))
        self.rx_fd = track(os.open(os.path.join(self.folder, "rx"), os.O_RDONLY))
        self.tx = mmap.mmap(self.tx_fd, os.fstat(self.tx_fd).st_size, mmap.MAP_SHARED)
        self.rx = mmap.mmap(self.rx_fd, os.fstat(self.rx_fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ)

    def _word(self, memory, offset):
        return struct.unpack_from("=I", memory, offset)[0]

    def _place(self, position):
        return self.at["hot_offset"] + position % self.at["hot_bytes"]

    def send(self, payload):
        """One inline record. The caller keeps within the ring: there is no flow control here."""
        self._put(0, payload)

    def send_block(self, serial, block, generation, offset, length):
        """A record that names a message in a block of a pool."""
        self._put(_RECORD_BLOCK, _BLOCK.pack(serial, block, generation, offset, length))

    def _put(self, flags, payload):
        size = (_RECORD.size + len(payload) + 15) & ~15
        position = self.at["write_hot"]
        left = self.at["hot_bytes"] - position % self.at["hot_bytes"]
        assert len(payload) <= self.at["inline_bytes"] and size + 16 <= left, "too near the ring's end"
        struct.pack_into("=I", self.tx, self._place(position + size), 0)
        place = self._place(position)
        struct.pack_into("=HHQ", self.tx, place + 4, flags, 0, self.at["write_sequence"])
        self.tx[place + 16:place + 16 + len(payload)] = payload
        struct.pack_into("=I", self.tx, place, len(payload) + 1)
        self.at["write_hot"] += size
        self.at["write_sequence"] += 1
        if self._word(self.rx, _SLEEP_DATA) & 1:
            self.ring()

    def shared_pool(self):
        """The serial of the pool that both ends have joined, as this end's slot tells; 0: none."""
        fd = os.open(self._status, os.O_RDONLY)
        try:
            with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ) as slots:
                place = self.at["status_slot"] * _STATUS_BYTES
                flow, = struct.unpack_from("=Q", slots, place)
                assert flow == self.at["flow"], "the slot is this end's"
                return struct.unpack_from("=Q", slots, place + _STATUS_POOL)[0]
        finally:
            os.close(fd)

    def ring(self):
        bell = ctypes.c_uint32.from_buffer(self.tx, _BELL)
        bell.value += 1
        ctypes.CDLL(None).syscall(_SYS_FUTEX, ctypes.byref(bell), _FUTEX_WAKE, 2**31 - 1, None, None, 0)
        del bell  # the mapping cannot be closed while it is referred to

    def receive(self):
        """The next inline record, waiting for it by looking."""
        while True:
            place = self._place(self.at["read_hot"])
            commit = wait_for(lambda place=place: self._word(self.rx, place), "a record")
            size = (commit & ~_PADDING) - 1
            self.at["read_hot"] += (_RECORD.size + size + 15) & ~15
            if not commit & _PADDING:
                break
        _, flags, _, sequence = _RECORD.unpack_from(self.rx, place)
        assert flags == 0 and sequence == self.at["read_sequence"]
        self.at["read_sequence"] += 1
        payload = self.rx[place + 16:place + 16 + size]
        struct.pack_into("=QQ", self.tx, _CURSORS + 8, self.at["read_hot"], self.at["read_bulk"])
        struct.pack_into("=Q", self.tx, _CURSORS, self.at["peer_generation"])
        return payload

    def follow(self):
        """Takes up the new segment of a peer that has detached, all of whose old one has been read."""
        self.rx.close()
        self.rx_fd = track(os.open(os.path.join(self.folder, "rx"), os.O_RDONLY))
        self.rx = mmap.mmap(self.rx_fd, os.fstat(self.rx_fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ)
        self.at["peer_generation"], = struct.unpack_from("=Q", self.rx, _GENERATION)
        self.at.update(read_hot=0, read_bulk=0, read_sequence=0)
        struct.pack_into("=QQQ", self.tx, _CURSORS, 0, 0, 0)
        struct.pack_into("=Q", self.tx, _CURSORS, self.at["peer_generation"])

    def close(self):
        self.tx.close()
        self.rx.close()
        for fd in (self.tx_fd, self.rx_fd):
            os.close(fd)


OPENS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_PATH]
_SHARED = [mmap.MAP_SHARED, 3]  # MAP_SHARED_VALIDATE


def can_be_written(fd):
    """Whether some mmap of it, or mprotect after that, gives memory to write."""
    return any(protect(fd, flags, prot) == ("mprotect", 0) for flags in _SHARED
               for prot in (0, mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE))


def ways_to_write(path, opens=2):
    """The flags of one open after the other, of a file and then through /proc of what that gave, by which
    this process can map it to write."""
    found = []
    for flags in OPENS:
        try:
            fd = os.open(path, flags)
        except OSError:
            continue
        found += [(flags,)] if can_be_written(fd) else []
        if opens > 1:
            found += [(flags, *more) for more in ways_to_write(f"/proc/self/fd/{fd}", opens - 1)]
        os.close(fd)
    return found


def protect(memory_fd, flags, prot):
    """mmap and then mprotect to read-write; the outcome of each."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, 4096, prot, flags, memory_fd, ctypes.c_long(0))
    if address in (None, ctypes.c_void_p(-1).value):
        return "mmap", ctypes.get_errno()
    done = libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_WRITE)
    number = ctypes.get_errno() if done else 0
    libc.munmap(ctypes.c_void_p(address), 4096)
    return "mprotect", number
