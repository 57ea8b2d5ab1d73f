# SPDX-License-Identifier: BSD-3-Clause
"""Mapped members of buses beside file members: who reads what, who waits, who is thrown out."""

import errno
import mmap
import os
import random
import signal

import pytest
import wire
from buses import RECORD
from harness import close, is_sanitized, read_text, read_values, set_nonblock, track, write_text
from mapped import protect
from mapped_bus import MappedMember
from procs import Child, as_user, wait_for
from sysc import raises_errno

ALICE, BOB = 61001, 61002
MESSAGE = 10
COST = MESSAGE + RECORD


@pytest.fixture(autouse=True)
def can_map(daemon):
    if "passthrough yes" not in read_text(daemon.path("version")):
        pytest.skip("this kernel does not map through the mount (no FUSE passthrough)")


def text(number):
    return b"%0*d" % (MESSAGE, number)


def mapped(bus, flags=os.O_RDWR):
    return MappedMember(bus, bus.join(flags))


def member(bus, one):
    return bus.members()[one.at["port"]]


# --- mixing --------------------------------------------------------------------------------------

def test_files_and_mapped_members_hear_each_other_and_not_themselves(bus):
    one, two, file = mapped(bus), mapped(bus), bus.join()
    os.write(file, b"from a file")
    one.send(b"from one")
    wait_for(one.taken, "the bus takes it")
    two.send(b"from two")
    wait_for(two.taken, "the bus takes it")
    assert [one.receive(), one.receive()] == [b"from a file", b"from two"]
    assert [two.receive(), two.receive()] == [b"from a file", b"from one"]
    assert [os.read(file, 100), os.read(file, 100)] == [b"from one", b"from two"]
    assert one.look() is None and two.look() is None
    for which in one, two:
        assert (member(bus, which).delivered, member(bus, which).lag, member(bus, which).dropped) == (2, 0, 0)
    bus.check_accounts()


def test_a_member_begins_with_what_it_has_not_read_and_goes_on_with_it(bus):
    sender, fd = bus.writer(), bus.reader()
    for number in range(4):
        os.write(sender, text(number))
    assert os.read(fd, 100) == text(0)
    assert os.read(fd, 3) == text(1)[:3]
    one = MappedMember(bus, fd)
    assert one.receive() == text(1), "whole again"
    assert one.receive() == text(2)
    one.detach()
    assert os.read(fd, 100) == text(3)
    assert bus.members()[one.at["port"]].delivered == 4


def test_history_is_had_by_a_mapped_member_too(bus):
    bus.set("history", 2)
    sender, other = bus.writer(), mapped(bus)
    for number in range(5):
        os.write(sender, text(number))
    late = mapped(bus)
    assert [late.receive(), late.receive()] == [text(3), text(4)]
    assert [other.receive() for _ in range(5)] == [text(number) for number in range(5)]


def test_what_is_mapped_is_busy_for_files(bus):
    fd = bus.join()
    one = MappedMember(bus, fd)
    with raises_errno(errno.EBUSY):
        os.read(fd, 10)
    with raises_errno(errno.EBUSY):
        os.write(fd, b"x")
    with raises_errno(errno.EBUSY):
        MappedMember(bus, fd)
    one.detach()
    os.write(fd, b"x")


def test_a_member_that_gave_up_a_direction_is_mapped_for_the_other(bus):
    for words, flags in (("shutdown read", 2), ("shutdown write", 1)):
        fd, other = bus.join(), bus.join()
        folder = bus.file("port", str(wire.flow_id(fd)))
        os.stat(os.path.join(folder, "tx"))
        write_text(os.path.join(folder, "ctl"), words)
        one = MappedMember(bus, fd)
        assert one.at["flags"] == flags
        with raises_errno(errno.EBUSY):
            write_text(os.path.join(folder, "ctl"), "close")
        if flags == 2:
            one.send(b"sent")
            assert os.read(other, 100) == b"sent"
        else:
            os.write(other, b"received")
            assert one.receive() == b"received"
        one.detach()
        write_text(os.path.join(folder, "ctl"), "close")
        close(other)
        bus.wait_members(0)


def test_an_ethernet_has_no_mapped_members(bus):
    bus.set("policy", "switch")
    bus.join()
    for path in bus.file("log"), bus.file("port", "1", "tx"):
        with raises_errno(errno.EOPNOTSUPP):
            os.open(path, os.O_RDONLY)


# --- modes ---------------------------------------------------------------------------------------

def test_a_reader_maps_nothing_writable_but_its_own(open_bus):
    with raises_errno(errno.ENOTCONN):
        os.open(open_bus.file("log"), os.O_RDONLY)
    kept = mapped(open_bus)
    with raises_errno(errno.EACCES):
        os.open(open_bus.file("log"), os.O_RDWR)

    def as_alice():
        one = mapped(open_bus, os.O_RDONLY)
        log = os.open(open_bus.file("log"), os.O_RDONLY)
        for prot, call in ((mmap.PROT_READ | mmap.PROT_WRITE, "mmap"), (mmap.PROT_READ, "mprotect")):
            assert protect(log, mmap.MAP_SHARED, prot) == (call, errno.EACCES)
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("port", "1", "tx"), os.O_RDWR)
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("port", "1", "tx"), os.O_RDONLY)
        return one.at["flags"]

    assert as_user(ALICE, as_alice) == 1
    os.chmod(open_bus.bus, 0o700)
    with raises_errno(errno.EACCES):
        as_user(BOB, os.open, open_bus.file("log"), os.O_RDONLY)
    kept.detach()


# --- lossy, lossless -----------------------------------------------------------------------------

def test_a_stopped_reader_of_a_lossy_bus_loses_and_nobody_else_notices(bus):
    """Trial 4, for mapped members: the stopped one publishes nothing."""
    count, kept = 2000, 100
    bus.set("depth", kept * COST)
    sender, stopped, quick = mapped(bus, os.O_WRONLY), mapped(bus, os.O_RDONLY), mapped(bus, os.O_RDONLY)
    file = bus.reader()
    for number in range(count):
        sender.send(text(number))
        assert quick.receive() == text(number)
        assert os.read(file, 100) == text(number)
    assert (member(bus, stopped).dropped, member(bus, stopped).lag) == (count - kept, kept)
    for number in range(count - kept, count):
        assert stopped.receive() == text(number)
    assert stopped.lost == 0, "its first record was any, and those that followed were there"
    assert (member(bus, stopped).delivered, member(bus, stopped).lag) == (kept, 0)
    assert (member(bus, quick).delivered, member(bus, quick).dropped) == (count, 0)
    bus.check_accounts()


def test_a_reader_of_a_lossless_bus_makes_senders_wait(bus):
    bus.set("delivery", "lossless")
    bus.set("depth", 4 * COST)
    reader, sender, file = mapped(bus, os.O_RDONLY), mapped(bus, os.O_WRONLY), bus.writer(os.O_NONBLOCK)
    for number in range(10):
        sender.send(text(number))
    wait_for(lambda: member(bus, reader).lag == 4, "the bus is full")
    with raises_errno(errno.EAGAIN):
        os.write(file, b"x")
    assert not sender.taken()
    waiting = Child(_write_blocking, bus)
    waiting.wait_blocked("write")
    seen = [reader.receive() for _ in range(11)]
    assert [one for one in seen if one != b"waited"] == [text(number) for number in range(10)]
    assert b"waited" in seen
    waiting.result()
    assert sender.taken() and sender.refused() == 0
    assert member(bus, reader).dropped == 0


def _write_blocking(bus):
    fd = os.open(bus.bus, os.O_WRONLY)
    os.write(fd, b"waited")
    os.close(fd)


def test_a_mapped_reader_that_blocks_too_long_is_cut_off(bus):
    bus.set("delivery", "lossless")
    bus.set("depth", COST)
    bus.set("evict", 20_000)
    reader, sender = mapped(bus, os.O_RDONLY), bus.writer()
    os.write(sender, text(0))
    os.write(sender, text(1))  # waits until the reader has gone
    # The writer's answer may come before the reader's slot is given back.
    wait_for(lambda: not reader.is_member(), "the slot is given back")
    with raises_errno(errno.ECONNABORTED):
        os.read(reader.fd, 10)
    assert len(bus.members()) == 1


def test_the_log_that_is_mapped_stays_large_enough(bus):
    one = mapped(bus, os.O_RDONLY)
    with raises_errno(errno.EBUSY):
        bus.set("mtu", 32 << 20)
    with raises_errno(errno.EBUSY):
        bus.set("depth", 64 << 20)
    bus.set("depth", COST)
    # A segment keeps the size that it was made with, whatever the next one will have.
    sends, fd = mapped(bus, os.O_WRONLY), bus.writer()
    bytes_now = os.fstat(sends.tx_fd).st_size
    one.detach()
    bus.set("mtu", 32 << 20)
    assert os.stat(bus.file("port", str(wire.flow_id(sends.fd)), "tx")).st_size == bytes_now
    assert os.stat(bus.file("port", str(wire.flow_id(fd)), "tx")).st_size > bytes_now


# --- large ---------------------------------------------------------------------------------------

def test_frames_are_read_in_place_by_all(bus):
    """4 MB from one mapped member to others; the daemon keeps each once."""
    size = 4_000_000
    bus.set("mtu", 4 << 20)
    bus.set("depth", 8 << 20)
    sender = mapped(bus, os.O_WRONLY)
    readers = [mapped(bus, os.O_RDONLY) for _ in range(3)]
    for number in range(6):
        frame = bytes([number + 1]) * size
        sender.send(frame)
        for reader in readers:
            assert reader.receive() == frame
    assert all(member(bus, reader).dropped == 0 for reader in readers)


# --- death ---------------------------------------------------------------------------------------

def test_a_killed_sender_frees_its_port_and_what_it_sent_is_there(bus):
    """Trial 1: killed while it sends, with records that are half laid down."""
    reader, file = mapped(bus, os.O_RDONLY), bus.reader()
    for _ in range(5 if is_sanitized() else 20):
        child = Child(_send_forever, bus)
        first = reader.receive()
        assert first == text(0)
        child.kill()
        child.reap()
        bus.wait_members(2)
        number = 0
        while (message := reader.look()) is not None:
            number += 1
            assert message == text(number), "in order, and whole"
        reader.tell()
        for expected in range(number + 1):
            assert os.read(file, 100) == text(expected)
    assert member(bus, reader).lag == 0
    bus.check_accounts()


def _send_forever(bus):
    sender = MappedMember(bus, os.open(bus.bus, os.O_WRONLY))
    number = 0
    while True:
        if number < 200 or sender.taken():
            sender.send(text(number))
            number += 1


def test_killed_readers_hold_up_nobody(bus):
    bus.set("delivery", "lossless")
    bus.set("depth", 4 * COST)
    sender = mapped(bus, os.O_WRONLY)
    for _ in range(5):
        child = Child(_only_join, bus)
        bus.wait_members(2)
        wait_for(lambda: int(read_values(bus.file("stats"))["readers"]) == 1, "it has joined")
        for number in range(10):
            sender.send(text(number))
        child.kill(signal.SIGKILL)
        child.reap()
        bus.wait_members(1)
        wait_for(sender.taken, "nobody is waited for")


def _only_join(bus):
    kept = MappedMember(bus, os.open(bus.bus, os.O_RDONLY))
    signal.pause()
    kept.detach()


# --- lies ----------------------------------------------------------------------------------------

def _scribble(one, choose):
    """Random bytes over a segment: all of it, a page of it, or a few words."""
    size = min(len(one.tx), 1 << 16)
    where = choose.choice([(0, size), (0, 4096), (128, 640), (4096, 4096 + 256)])
    if choose.random() < 0.5:
        where = (where[0], min(where[1], len(one.tx)))
        one.tx[where[0]:where[1]] = choose.randbytes(where[1] - where[0])
    else:
        for _ in range(choose.randrange(1, 8)):
            at = choose.randrange(where[0], min(where[1], len(one.tx)) - 8)
            one.tx[at:at + 8] = choose.randbytes(8)
    one.ring_bell()


def test_random_bytes_over_a_segment_cost_their_member_alone(bus, daemon):
    """Trial 5, for members: what a liar sends may be nonsense; what others send is not touched."""
    choose = random.Random(20)
    good, reader = mapped(bus, os.O_WRONLY), mapped(bus, os.O_RDONLY)
    before = daemon.metrics()[("flowfs_mapped_members_thrown_out_total", frozenset())]
    for index in range(20 if is_sanitized() else 80):
        liar = mapped(bus)
        liar.send(b"true")
        _scribble(liar, choose)
        good.send(text(index))
        while reader.receive() != text(index):
            pass
        assert len(bus.members()) in (2, 3)
        liar.detach()
        close(liar.fd)
        bus.wait_members(2)
    assert good.is_member() and reader.is_member() and not reader.is_corrupt()
    assert daemon.metrics()[("flowfs_mapped_members_thrown_out_total", frozenset())] > before
    bus.check_accounts()


def test_a_cursor_that_cannot_be_costs_its_reader_the_port(bus):
    liar, other, sender = mapped(bus), mapped(bus, os.O_RDONLY), bus.writer()
    os.write(sender, text(0))
    liar.at["read_hot"] += 1 << 40
    bell = liar.log_bell()
    liar.tell()
    wait_for(lambda: len(bus.members()) == 2, "it is thrown out")
    assert liar.is_corrupt()
    assert liar.log_bell() != bell  # a thread of it may be asleep there
    with raises_errno(errno.ECONNABORTED):
        os.read(liar.fd, 10)
    assert other.receive() == text(0)


# --- memory --------------------------------------------------------------------------------------

def test_what_is_mapped_is_charged_and_given_back(open_bus, daemon):
    """Trial 7: the log to the payer of the bus, the segment to its member."""
    def used(uid):
        try:
            return int(daemon.usage(uid)["bytes"])
        except FileNotFoundError:
            return 0

    before = used(0), used(ALICE)
    kept = Child(_map_and_wait, open_bus, uid=ALICE)
    wait_for(lambda: os.path.exists(open_bus.file("port", "1", "tx")), "it has joined")
    segment = os.stat(open_bus.file("port", "1", "tx")).st_size
    wait_for(lambda: used(ALICE) >= before[1] + segment and used(0) > before[0] + (1 << 20), "it is charged")
    kept.kill()
    kept.reap()
    wait_for(lambda: (used(0), used(ALICE)) == before, "it is given back")


def _map_and_wait(bus):
    kept = mapped(bus)
    signal.pause()
    kept.detach()


def test_memory_that_is_not_to_be_had_is_an_error_and_nothing_else(open_bus, daemon):
    open_bus.set("mtu", 64 << 20)
    fd = open_bus.join()
    set_nonblock(fd)
    limits = daemon.path("users", str(ALICE), "limits")
    as_user(ALICE, os.mkdir, daemon.path("buses", "alices"))  # so that alice is known
    before = read_values(limits)["bytes"]
    write_text(limits, "bytes 1000000")
    try:
        as_user(ALICE, _find_no_memory, open_bus)
        assert os.read(fd, 100) == b"as a file"
    finally:
        write_text(limits, f"bytes {before}")
        os.rmdir(daemon.path("buses", "alices"))


def _find_no_memory(bus):
    fd = track(os.open(bus.bus, os.O_RDWR))
    with raises_errno(errno.EDQUOT):
        MappedMember(bus, fd)
    os.write(fd, b"as a file")
