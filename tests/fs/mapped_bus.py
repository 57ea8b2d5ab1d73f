# SPDX-License-Identifier: BSD-3-Clause
"""A mapped member of a bus in the plainest way, as include/flowfs/wire.h lays it out (see mapped.py)."""

import ctypes
import fcntl
import mmap
import os
import struct

import wire
from harness import track
from procs import wait_for

_ATTACH = struct.Struct("=IIQQQ QQQ QQQ QQ IIIIIIII")
_FIELDS = ["version", "status_slot", "member", "generation", "log_generation", "write_hot", "write_bulk",
           "write_sequence", "read_hot", "read_bulk", "read_sequence", "bulk_offset", "bulk_bytes",
           "hot_offset", "hot_bytes", "inline_bytes", "mtu_bytes", "uid", "port", "origin", "flags"]
_RECORD = struct.Struct("=IHHQ")
_LOG_RECORD = struct.Struct("@IIQ")
_PADDING = 0x80000000
_RECORD_BULK = 1
_LOG_PAGE = 4096
_BELL, _CURSORS, _PRESENT_LOG, _FORMER_LOG = 128, 384, 672, 688
_LOG_FIRST, _LOG_BELL, _FLOOR, _TAIL, _LAST, _SENT_BYTES = 32, 128, 256, 264, 272, 280
_LOG_GENERATION, _CLOSED_AT, _RETIRED_AT = 16, 24, 32
_SLOT_BYTES, _FLAGS, _TAKEN_HOT, _SLEEP_DATA, _SLEEP_ROOM, _REFUSED = 128, 60, 80, 100, 104, 112
_SYS_FUTEX, _FUTEX_WAKE = 202, 1
CORRUPT = 2
_MUTE = 4
_ANY = 2**64 - 1
DIRECT = 4


def _store(memory, offset, *words):
    """Each in one piece: pack_into() has zeros there for a moment, which the other side may see."""
    for place, value in enumerate(words):
        word = ctypes.c_uint64.from_buffer(memory, offset + 8 * place)
        word.value = value
        del word  # the mapping cannot be closed while it is referred to


def attach(tx_fd):
    """What FLOWFS_IOC_BUS answers."""
    buffer = bytearray(_ATTACH.size)
    assert len(buffer) == wire.numbers()["BUS_ATTACH_BYTES"]
    fcntl.ioctl(tx_fd, wire.numbers()["FLOWFS_IOC_BUS"], buffer)
    return dict(zip(_FIELDS, _ATTACH.unpack(buffer)))


class MappedMember:
    """The member of an open `bus` file, put into mapped mode until it is detached, or forgotten (as an
    mmap object closes a descriptor of its own)."""

    def __init__(self, bus, fd):
        self.fd = fd
        folder = bus.file("port", str(wire.flow_id(fd)))
        self.tx_fd = track(os.open(os.path.join(folder, "tx"), os.O_RDWR))
        self.at = attach(self.tx_fd)
        # Tells the daemon whose closing ends the mode.
        os.close(os.dup(self.tx_fd))
        self.tx = mmap.mmap(self.tx_fd, os.fstat(self.tx_fd).st_size, mmap.MAP_SHARED)
        self.log = None
        if self.at["flags"] & 1:
            self._map_log(bus)
        status = os.open(bus.daemon.path("users", str(self.at["uid"]), "status"), os.O_RDONLY)
        self.slots = mmap.mmap(status, os.fstat(status).st_size, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(status)
        self.lost = self.read_bytes = 0

    def _map_log(self, bus):
        log_fd = os.open(bus.file("log"), os.O_RDONLY)
        self.log = mmap.mmap(log_fd, os.fstat(log_fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(log_fd)
        self.ring = len(self.log) - _LOG_PAGE

    @property
    def is_direct(self):
        return bool(self.at["flags"] & DIRECT)

    @property
    def directions(self):
        """1: it receives; 2: it sends."""
        return self.at["flags"] & 3

    # --- sending

    def _place(self, position):
        return self.at["hot_offset"] + position % self.at["hot_bytes"]

    def send(self, payload, ring=True):
        """One record. The caller keeps within the rings: there is no flow control here."""
        if self.is_direct:
            self.lay_down(payload)
            if ring:
                self.ring_bell()
            return
        flags, body = 0, payload
        if len(payload) > self.at["inline_bytes"]:
            bulk = self.at["write_bulk"]
            left = self.at["bulk_bytes"] - bulk % self.at["bulk_bytes"]
            bulk += left if left < len(payload) else 0
            place = self.at["bulk_offset"] + bulk % self.at["bulk_bytes"]
            self.tx[place:place + len(payload)] = payload
            self.at["write_bulk"] = (bulk + len(payload) + 63) & ~63
            flags, body = _RECORD_BULK, struct.pack("=QII", bulk, len(payload), 0)
        size = (_RECORD.size + len(body) + 15) & ~15
        position = self.at["write_hot"]
        left = self.at["hot_bytes"] - position % self.at["hot_bytes"]
        first, commit = self._place(position), len(body) + 1
        if size > left:
            # Published by the padding, which comes first and is stored last.
            commit = _PADDING | (left - _RECORD.size + 1)
            position += left
            struct.pack_into("@I", self.tx, self._place(position), len(body) + 1)
            struct.pack_into("=H", self.tx, first + 4, 0)
        struct.pack_into("@I", self.tx, self._place(position + size), 0)
        place = self._place(position)
        struct.pack_into("=HHQ", self.tx, place + 4, flags, 0, self.at["write_sequence"])
        self.tx[place + 16:place + 16 + len(body)] = body
        struct.pack_into("@I", self.tx, first, commit)
        self.at["write_hot"] = position + size
        self.at["write_sequence"] += 1
        if ring and self._slot("@I", _SLEEP_DATA) & 1:
            self.ring_bell()

    def lay_down(self, payload, **lies):
        """One record in the log itself, where the oldest make room."""
        ring = len(self.tx) - _LOG_PAGE
        position, floor = self.at["write_hot"], self.at["write_bulk"]
        need, left = (16 + len(payload) + 15) & ~15, ring - position % ring
        padding = left if need > left else 0
        while position + padding + need - floor > ring:
            length, = struct.unpack_from("@I", self.tx, _LOG_PAGE + floor % ring)
            floor += length & ~_PADDING if length & _PADDING else (16 + length + 15) & ~15
        _store(self.tx, _FLOOR, floor)
        if padding:
            _LOG_RECORD.pack_into(self.tx, _LOG_PAGE + position % ring, _PADDING | padding, 0, 0)
            position += padding
        place = _LOG_PAGE + position % ring
        true = {"length": len(payload), "origin": self.at["origin"], "sequence": self.at["write_sequence"]}
        _LOG_RECORD.pack_into(self.tx, place, *(true | lies).values())
        self.tx[place + 16:place + 16 + len(payload)] = payload
        sent_bytes, = struct.unpack_from("@Q", self.tx, _SENT_BYTES)
        _store(self.tx, _SENT_BYTES, sent_bytes + len(payload))
        _store(self.tx, _TAIL, position + need)
        _store(self.tx, _LAST, position)
        self.at.update(write_hot=position + need, write_bulk=floor, write_sequence=self.at["write_sequence"] + 1)

    def ring_bell(self):
        bell = ctypes.c_uint32.from_buffer(self.tx, _BELL)
        bell.value += 1
        ctypes.CDLL(None).syscall(_SYS_FUTEX, ctypes.byref(bell), _FUTEX_WAKE, 2**31 - 1, None, None, 0)
        del bell  # the mapping cannot be closed while it is referred to

    def _slot(self, form, offset):
        return struct.unpack_from(form, self.slots, self.at["status_slot"] * _SLOT_BYTES + offset)[0]

    def is_member(self):
        return self._slot("@Q", 0) == self.at["member"] | 1 << 63

    def is_corrupt(self):
        return bool(self._slot("@I", _FLAGS) & CORRUPT)

    def is_mute(self):
        return bool(self._slot("@I", _FLAGS) & _MUTE)

    def is_deaf(self):
        return self._slot("@Q", _CLOSED_AT) != _ANY

    def refused(self):
        return self._slot("@Q", _REFUSED)

    def taken(self):
        """Whether the bus has taken all that was sent."""
        return self._slot("@Q", _TAKEN_HOT) == self.at["write_hot"]

    # --- receiving

    def look(self):
        """The next message of another member, or None."""
        while True:
            position = self.at["read_hot"]
            if self.is_retired() and position >= self._slot("@Q", _RETIRED_AT):
                return None  # or more than one log has followed, and this one is empty
            if position == struct.unpack_from("@Q", self.log, _TAIL)[0]:
                return None
            place = _LOG_PAGE + position % self.ring
            length, origin, sequence = _LOG_RECORD.unpack_from(self.log, place)
            payload = self.log[place + 16:place + 16 + (0 if length & _PADDING else length)]
            floor, = struct.unpack_from("@Q", self.log, _FLOOR)
            if floor > position:
                self.at["read_hot"] = floor
            elif length & _PADDING:
                self.at["read_hot"] += length & ~_PADDING
            else:
                if self.at["read_sequence"] != _ANY:
                    self.lost += sequence - self.at["read_sequence"]
                self.at["read_sequence"] = sequence + 1
                self.at["read_hot"] += (16 + length + 15) & ~15
                if origin != self.at["origin"]:
                    self.read_bytes += length
                    return payload

    def is_retired(self):
        """Whether another log has followed the one that is mapped."""
        return self._slot("@Q", _LOG_GENERATION) != self.at["log_generation"]

    def go_over(self, bus):
        """On to the log that followed, whether or not the one before has been read to its end."""
        wait_for(self.is_retired, "another log")
        _store(self.tx, _CURSORS, 0)
        _store(self.tx, _FORMER_LOG, self.lost, self.read_bytes)
        self.at["log_generation"] = self._slot("@Q", _LOG_GENERATION)
        self._map_log(bus)
        first, = struct.unpack_from("@Q", self.log, _LOG_FIRST)
        self.at.update(read_hot=first, read_sequence=_ANY if first else 0)
        self.lost = self.read_bytes = 0
        self.tell()

    def log_bell(self):
        return struct.unpack_from("@I", self.log, _LOG_BELL)[0]

    def receive(self, tell=True):
        """The next message, waiting for it by looking."""
        found = []
        wait_for(lambda: found.append(self.look()) or found[-1] is not None, "a message in the log")
        if tell:
            self.tell()
        return found[-1]

    def tell(self):
        """Publishes how far it has read, and rings where the bus waits for that."""
        _store(self.tx, _PRESENT_LOG, self.lost, self.read_bytes)
        _store(self.tx, _CURSORS + 8, self.at["read_hot"], self.at["read_sequence"])
        _store(self.tx, _CURSORS, self.at["log_generation"])
        if self._slot("@I", _SLEEP_ROOM) & 1:
            self.ring_bell()

    def detach(self):
        self.tx.close()
        os.close(self.tx_fd)
