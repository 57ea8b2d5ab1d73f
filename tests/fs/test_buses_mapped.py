# SPDX-License-Identifier: BSD-3-Clause
"""Mapped members of buses beside file members: who reads what, who waits, who is thrown out."""

import contextlib
import errno
import fcntl
import mmap
import os
import random
import select
import signal
import struct

import pytest
import wire
from buses import RECORD, Bus
from fixtures import long_run, need_mapping
from harness import close, is_sanitized, read_values, set_nonblock, track, write_text
from mapped import protect
from mapped_bus import MappedMember
from procs import Child, as_user, wait_for
from sysc import raises_errno

ALICE, BOB = 61001, 61002
MESSAGE = 10
COST = MESSAGE + RECORD


@pytest.fixture(autouse=True)
def can_map(daemon):
    need_mapping(daemon)


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
        wire.skip(fd)
    with raises_errno(errno.EBUSY):
        MappedMember(bus, fd)
    one.detach()
    os.write(fd, b"x")
    assert wire.skip(fd) == 0


def test_a_member_that_gave_up_a_direction_is_mapped_for_the_other(bus):
    for words, flags in (("shutdown read", 2), ("shutdown write", 1)):
        fd, other = bus.join(), bus.join()
        folder = bus.file("port", str(wire.flow_id(fd)))
        os.stat(os.path.join(folder, "tx"))
        write_text(os.path.join(folder, "ctl"), words)
        one = MappedMember(bus, fd)
        assert one.directions == flags
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


def control(bus, one, words):
    write_text(bus.file("port", str(one.at["port"]), "ctl"), words)


def test_who_shuts_down_receiving_is_waited_for_by_nobody(bus):
    """What it had read is counted, what it had not is dropped, and it still sends."""
    bus.set("delivery", "lossless").set("depth", 4 * COST)
    one, other, sender = mapped(bus), mapped(bus, os.O_RDONLY), mapped(bus, os.O_WRONLY)
    for number in range(10):
        sender.send(text(number))
    assert [one.receive() for _ in range(2)] == [other.receive() for _ in range(2)]
    wait_for(lambda: member(bus, one).lag == 4, "the bus is full")
    bell = one.log_bell()
    control(bus, one, "shutdown read")
    assert one.is_deaf() and one.log_bell() != bell
    found = member(bus, one)
    assert (found.mode, found.delivered, found.dropped, found.lag) == ("w", 2, 4, 0)
    assert [other.receive() for _ in range(8)] == [text(number) for number in range(2, 10)]
    wait_for(sender.taken, "nobody is waited for")
    one.send(b"still")
    assert other.receive() == b"still"
    assert (member(bus, one).delivered, member(bus, one).dropped, bus.stats()["readers"]) == (2, 4, 1)
    control(bus, other, "shutdown read")
    with raises_errno(errno.ENOTCONN):
        os.open(bus.file("log"), os.O_RDONLY)
    assert sorted(bus.members()) == [one.at["port"], sender.at["port"]]
    assert other.is_member() and other.is_deaf()
    one.send(b"to nobody")
    wait_for(one.taken, "the bus takes it")
    bus.check_accounts()
    one.detach()
    assert os.read(one.fd, 10) == b""
    os.write(one.fd, b"as a file")


def test_who_shuts_down_sending_has_sent_what_it_laid_down(bus):
    """A lossless bus takes it when there is room, and until then it is a writer."""
    bus.set("delivery", "lossless").set("depth", 4 * COST).set("writers", 1)
    one, reader = mapped(bus), mapped(bus, os.O_RDONLY)
    for number in range(10):
        one.send(text(number))
    wait_for(lambda: member(bus, reader).lag == 4, "the bus is full")
    poller = select.poll()
    poller.register(one.fd, select.POLLOUT)
    assert poller.poll(0) == []
    control(bus, one, "shutdown write")
    one.send(b"too late")
    assert one.is_mute() and poller.poll(0) == [(one.fd, select.POLLOUT)]
    with raises_errno(errno.EBUSY):
        bus.writer()
    assert [reader.receive() for _ in range(10)] == [text(number) for number in range(10)]
    wait_for(lambda: bus.stats()["writers"] == 0, "it is no writer")
    assert (member(bus, one).mode, member(bus, one).delivered) == ("r", 0)
    with raises_errno(errno.EPIPE):
        os.write(one.fd, b"x")
    os.write(bus.writer(), b"of another")
    assert reader.receive() == one.receive() == b"of another"
    assert reader.look() is None and not one.taken()
    bus.check_accounts()


@pytest.mark.parametrize("words", [["close"], ["shutdown write", "shutdown read"]])
def test_who_shuts_down_both_leaves_when_all_is_sent(bus, words):
    bus.set("delivery", "lossless").set("depth", 4 * COST)
    one, reader = mapped(bus), bus.reader()
    for number in range(10):
        one.send(text(number))
    wait_for(lambda: bus.stats()["lag"] == 4, "the bus is full")
    for word in words:
        control(bus, one, word)
    assert member(bus, one).mode == "w"
    assert [os.read(reader, 100) for _ in range(10)] == [text(number) for number in range(10)]
    bus.wait_members(1)
    assert one.is_member() and one.is_deaf() and one.is_mute(), "its slot stays, and says so"
    assert os.read(one.fd, 10) == b"" and wire.flow_id(bus.join()) == one.at["port"]
    one.detach()


def test_who_shuts_down_and_unmaps_is_shut_down(bus):
    bus.set("delivery", "lossless").set("depth", COST)
    one, reader = mapped(bus), bus.reader()
    for number in range(4):
        one.send(text(number))
    wait_for(lambda: bus.stats()["lag"] == 1, "the bus is full")
    control(bus, one, "shutdown write")
    one.detach()
    with raises_errno(errno.EPIPE):
        os.write(one.fd, b"x")
    assert member(bus, one).mode == "r"
    assert os.read(reader, 100) == text(0)


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
    with raises_errno(errno.EINVAL):
        os.read(track(os.open(open_bus.file("log"), os.O_RDONLY)), 10)
    for call in (lambda: os.read(kept.tx_fd, 10), lambda: os.write(kept.tx_fd, b"x")):
        with raises_errno(errno.EINVAL):
            call()

    def as_alice():
        one = mapped(open_bus, os.O_RDONLY)
        log = os.open(open_bus.file("log"), os.O_RDONLY)
        for prot, call in ((mmap.PROT_READ | mmap.PROT_WRITE, "mmap"), (mmap.PROT_READ, "mprotect")):
            assert protect(log, mmap.MAP_SHARED, prot) == (call, errno.EACCES)
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("port", "1", "tx"), os.O_RDWR)
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("port", "1", "tx"), os.O_RDONLY)
        return one.directions

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
    assert stopped.lost == count - kept, "it knew the number of the first one"
    assert (member(bus, stopped).delivered, member(bus, stopped).lag) == (kept, 0)
    assert member(bus, stopped).dropped == count - kept, "counted once, by the bus and by itself"
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


def test_what_the_bus_does_not_take_from_a_mapped_sender_is_counted(bus):
    reader, sender = mapped(bus, os.O_RDONLY), mapped(bus, os.O_WRONLY)
    bus.set("mtu", 10)
    sender.send(bytes(11))
    sender.send(b"short")
    assert reader.receive() == b"short"
    assert sender.refused() == 1
    stats = read_values(bus.file("port", str(wire.flow_id(sender.fd)), "stats"))
    assert (stats["sent"], stats["refused"]) == ("1", "1")
    bus.check_accounts()


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
    files = [bus.reader() for _ in range(2)]
    for number in range(6):
        frame = bytes([number + 1]) * size
        sender.send(frame)
        for reader in readers:
            assert reader.receive() == frame
        assert os.read(files[0], 2 * size) == frame
        assert [os.read(files[1], size // 4) for _ in range(4)] == [frame[:size // 4]] * 4
    assert all(member(bus, reader).dropped == 0 for reader in readers)


# --- death ---------------------------------------------------------------------------------------

LONG = pytest.mark.deadline(3600 if long_run() else 100)


def kills(few):
    return 10_000 if long_run() else 5 if is_sanitized() else few


@contextlib.contextmanager
def nothing_kept(bus, daemon):
    """Of what comes and goes inside: afterwards the daemon holds what it held before."""
    members = len(bus.members())
    first = mapped(bus, os.O_RDONLY)  # what is made for a user's first one stays
    first.detach()
    close(first.fd)
    bus.wait_members(members)
    charged, descriptors, memory = daemon.usage(0)["bytes"], daemon.descriptors(), daemon.memory_kib()
    yield
    wait_for(lambda: daemon.usage(0)["bytes"] == charged, "nothing charged for who was killed")
    daemon.wait_descriptors(descriptors)
    if not is_sanitized():
        assert daemon.memory_kib() < memory + 4096


def last_of_killed(bus, sender, reader):
    """Kills it, and reads what it left behind the first message: the number of the last."""
    sender.kill()
    sender.reap()
    bus.wait_members(2)
    number = 0
    while (message := reader.look()) is not None:
        number += 1
        assert message == text(number), "in order, and whole"
    reader.tell()
    return number


@LONG
def test_a_killed_sender_frees_its_port_and_what_it_sent_is_there(bus, daemon):
    """Trial 1: killed while it sends, with records that are half laid down."""
    reader, file = mapped(bus, os.O_RDONLY), bus.reader()
    with nothing_kept(bus, daemon):
        for _ in range(kills(20)):
            child = Child(_send_forever, bus)
            first = reader.receive()
            assert first == text(0)
            number = last_of_killed(bus, child, reader)
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


@LONG
@pytest.mark.parametrize("reads", [False, True])
def test_killed_readers_hold_up_nobody(bus, daemon, reads):
    """Trial 1: killed while it reads, or while others wait for it."""
    bus.set("delivery", "lossless")
    bus.set("depth", 4 * COST)
    sender = mapped(bus, os.O_WRONLY)
    with nothing_kept(bus, daemon):
        for _ in range(kills(10)):
            child = Child(_read_forever if reads else _only_join, bus)
            bus.wait_members(2)
            wait_for(lambda: int(read_values(bus.file("stats"))["readers"]) == 1, "it has joined")
            for number in range(10):
                sender.send(text(number))
            child.kill(signal.SIGKILL)
            child.reap()
            bus.wait_members(1)
            wait_for(sender.taken, "nobody is waited for")


def _read_forever(bus):
    kept = MappedMember(bus, os.open(bus.bus, os.O_RDONLY))
    while True:
        kept.receive()


def _only_join(bus):
    kept = MappedMember(bus, os.open(bus.bus, os.O_RDONLY))
    signal.pause()
    kept.detach()


# --- lies ----------------------------------------------------------------------------------------

def scribble(one, choose):
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
        scribble(liar, choose)
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


# --- written by its only sender ------------------------------------------------------------------

def direct(bus):
    """A mapped sender that writes the log itself."""
    bus.set("writers", 1)
    writer = mapped(bus, os.O_WRONLY)
    assert writer.is_direct
    return writer


def account(bus, one):
    """What a reader was sent, and what became of it."""
    found = member(bus, one)
    return found.delivered, found.dropped, found.lag


def port_stats(bus, one):
    return {key: int(value) for key, value in
            read_values(bus.file("port", str(one.at["port"]), "stats")).items()}


def test_the_only_sender_writes_the_log_that_all_read(bus):
    early = mapped(bus, os.O_RDONLY)
    file, writer = bus.reader(), direct(bus)
    early.go_over(bus)
    late = mapped(bus, os.O_RDONLY)
    assert early.at["log_generation"] == late.at["log_generation"] == 2
    for number in range(3):
        writer.send(text(number))
        assert early.receive() == text(number)
        assert os.read(file, 100) == text(number)
    assert [late.receive(), late.receive()] == [text(0), text(1)]
    assert (account(bus, early), account(bus, late)) == ((3, 0, 0), (2, 0, 1))
    assert port_stats(bus, late)["delivered_bytes"] == 2 * MESSAGE
    assert port_stats(bus, writer)["sent_bytes"] == 3 * MESSAGE
    stats = bus.stats()
    assert (stats["sent"], stats["delivered"], stats["dropped"], stats["lag"]) == (3, 8, 0, 1)
    bus.check_accounts()


def test_readers_of_another_user_cannot_write_what_the_sender_does(open_bus):
    writer = direct(open_bus)
    writer.send(b"before")

    def as_alice():
        reader = mapped(open_bus, os.O_RDONLY)
        log = os.open(open_bus.file("log"), os.O_RDONLY)
        for prot, call in ((mmap.PROT_READ | mmap.PROT_WRITE, "mmap"), (mmap.PROT_READ, "mprotect")):
            assert protect(log, mmap.MAP_SHARED, prot) == (call, errno.EACCES)
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("log"), os.O_RDWR)
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("port", str(writer.at["port"]), "tx"), os.O_RDWR)
        os.write(ready, b"x")
        return reader.receive()

    told, ready = os.pipe()
    child = Child(as_alice, uid=ALICE, keep=(ready,))
    assert os.read(told, 1) == b"x"
    writer.send(b"for alice")
    assert child.result() == b"for alice"
    for fd in told, ready:
        os.close(fd)


@pytest.mark.parametrize("settings, flags", [
    ({"writers": 1, "delivery": "lossless"}, os.O_WRONLY), ({"writers": 1}, os.O_RDWR), ({}, os.O_WRONLY)])
def test_who_does_not_write_the_log_itself(bus, settings, flags):
    for name, value in settings.items():
        bus.set(name, value)
    one = mapped(bus, flags)
    assert not one.is_direct
    file = bus.reader()
    one.send(b"through the daemon")
    assert os.read(file, 100) == b"through the daemon"


def test_a_bus_whose_sender_writes_its_log_stays_so(bus):
    writer = direct(bus)
    with raises_errno(errno.EBUSY):
        bus.writer()
    for name, value in ("writers", 2), ("writers", "max"), ("delivery", "lossless"), ("mtu", 1000), \
            ("depth", 64 << 20), ("policy", "switch"):
        with raises_errno(errno.EBUSY):
            bus.set(name, value)
    bus.set("depth", 4 * COST)
    bus.set("history", 1)
    with raises_errno(errno.EBUSY):
        os.write(writer.fd, b"as a file")
    writer.detach()
    os.write(writer.fd, b"as a file")
    bus.set("writers", 2)
    bus.set("delivery", "lossless")


def test_a_tx_that_the_bus_has_outgrown_is_another(bus):
    bus.set("writers", 1)
    fd = bus.writer()
    path = bus.file("port", str(wire.flow_id(fd)), "tx")
    old, number = track(os.open(path, os.O_RDWR)), os.stat(path).st_ino
    bus.set("delivery", "lossless")
    buffer = bytearray(wire.numbers()["BUS_ATTACH_BYTES"])
    for _ in range(2):
        with raises_errno(errno.EAGAIN):
            fcntl.ioctl(old, wire.numbers()["FLOWFS_IOC_BUS"], buffer)
        assert os.stat(path).st_ino != number
    assert not MappedMember(bus, fd).is_direct


def test_what_is_overtaken_in_the_senders_log_is_counted(bus):
    """Trial 4 again: nobody waits for the readers, and each loses what it was too slow for."""
    bus.set("mtu", 1000)
    bus.set("depth", 4 * COST)
    writer, slow, quick, file = direct(bus), mapped(bus, os.O_RDONLY), mapped(bus, os.O_RDONLY), bus.reader()
    count = 1000
    for number in range(count):
        writer.send(text(number))
        assert quick.receive() == text(number)
    got = []
    while (message := slow.look()) is not None:
        got.append(message)
    slow.tell()
    assert got == [text(number) for number in range(count - len(got), count)]
    assert 0 < len(got) < count and slow.lost == count - len(got)
    assert account(bus, slow) == (len(got), slow.lost, 0)
    assert account(bus, quick) == (count, 0, 0)
    wait_for(lambda: bus.stats()["sent"] == count, "the daemon has seen them all")
    found = bus.members()[wire.flow_id(file)]
    assert found.delivered + found.dropped + found.lag == count and found.lag == 4
    bus.check_accounts()


def test_history_is_had_from_the_senders_log(bus):
    bus.set("history", 2)
    writer = direct(bus)
    for number in range(5):
        writer.send(text(number))
    late, file = mapped(bus, os.O_RDONLY), bus.reader()
    writer.send(text(5))
    assert [late.receive() for _ in range(3)] == [text(3), text(4), text(5)]
    assert [os.read(file, 100) for _ in range(3)] == [text(3), text(4), text(5)]
    assert account(bus, late) == (3, 0, 0)


def test_a_capture_shows_what_the_sender_lays_down(bus):
    writer = direct(bus)
    writer.send(b"before it began")
    capture, seen = track(os.open(bus.file("pcap"), os.O_RDONLY)), b""
    writer.send(b"as it flows")
    while b"as it flows" not in seen:
        seen += os.read(capture, 4096)
    assert b"before it began" not in seen


def test_a_log_is_retired_where_its_sender_shuts_down(bus):
    reader, file, writer = mapped(bus, os.O_RDONLY), bus.reader(), direct(bus)
    reader.go_over(bus)
    writer.send(text(0), ring=False)
    control(bus, writer, "shutdown write")
    writer.send(text(1))
    assert writer.is_member() and writer.is_mute() and bus.stats()["members"] == 2
    assert reader.receive() == os.read(file, 100) == text(0)
    assert reader.look() is None
    with raises_errno(errno.EPIPE):
        os.write(writer.fd, b"x")
    other = direct(bus)
    assert other.at["port"] == writer.at["port"]
    reader.go_over(bus)
    other.send(text(2))
    assert reader.receive() == os.read(file, 100) == text(2)
    assert account(bus, reader) == (2, 0, 0)
    control(bus, reader, "shutdown read")
    assert reader.is_deaf() and bus.stats()["readers"] == 1
    other.send(text(3))
    assert os.read(file, 100) == text(3)
    bus.check_accounts()


def test_who_finds_another_log_when_it_joins_has_lost_what_was_in_the_first(bus):
    file, reader = bus.writer(), mapped(bus, os.O_RDONLY)
    os.write(file, text(0))
    assert reader.receive() == text(0)
    for number in range(1, 4):
        os.write(file, text(number))
    close(file)
    bus.wait_members(1)
    writer = direct(bus)
    writer.send(text(4))
    reader.lost = 2**64 - 1  # as libflowfs says that did not map it
    reader.go_over(bus)
    assert reader.receive() == text(4)
    assert account(bus, reader) == (2, 3, 0)
    assert port_stats(bus, reader)["delivered_bytes"] == 2 * MESSAGE
    bus.check_accounts()


def test_readers_go_on_when_the_sender_is_another(bus):
    reader, file = mapped(bus, os.O_RDONLY), bus.reader()
    through = mapped(bus, os.O_WRONLY)
    through.send(text(0))
    wait_for(through.taken, "the bus takes it")
    through.detach()
    close(through.fd)
    bus.wait_members(2)
    for number in (1, 3):
        writer = direct(bus)
        writer.send(text(number))
        writer.send(text(number + 1))
        close(writer.fd)
        writer.detach()
        bus.wait_members(2)
    # It slept over more than one log, and of those nothing is left.
    assert reader.is_retired()
    reader.go_over(bus)
    assert reader.look() is None
    assert account(bus, reader) == (0, 5, 0)
    assert [os.read(file, 100) for _ in range(5)] == [text(number) for number in range(5)]
    bus.check_accounts()


def test_a_reader_that_keeps_up_reads_through_all_logs(bus):
    reader = mapped(bus, os.O_RDONLY)
    number = 0
    for _ in range(3):
        writer = direct(bus)
        writer.send(text(number))
        reader.go_over(bus)
        assert reader.receive() == text(number)
        writer.send(text(number + 1))
        writer.detach()
        assert reader.receive() == text(number + 1)
        reader.go_over(bus)
        assert account(bus, reader) == (number + 2, 0, 0)
        close(writer.fd)
        bus.wait_members(1)
        number += 2
    assert bus.stats()["delivered"] == bus.stats()["sent"] == number


@LONG
def test_a_killed_sender_leaves_whole_messages(bus, daemon):
    """Trial 1: killed while it lays them down."""
    bus.set("writers", 1)
    total = 0
    with nothing_kept(bus, daemon):
        reader, file = mapped(bus, os.O_RDONLY), bus.reader()
        for _ in range(kills(15)):
            child = Child(_lay_down_forever, bus)
            reader.go_over(bus)
            assert reader.receive() == text(0)
            number = last_of_killed(bus, child, reader)
            reader.go_over(bus)
            for expected in range(number + 1):
                assert os.read(file, 100) == text(expected)
            total += number + 1
            assert account(bus, reader) == (total, 0, 0)
        reader.detach()
        close(reader.fd, file)
        bus.wait_members(0)
    assert bus.stats()["sent"] == total
    bus.check_accounts()


def _lay_down_forever(bus):
    writer = MappedMember(bus, os.open(bus.bus, os.O_WRONLY))
    number = 0
    while True:
        if number < 2000:
            writer.send(text(number))
            number += 1


LIES = {
    "magic": lambda writer: struct.pack_into("@Q", writer.tx, 0, 0),
    "tail ahead": lambda writer: struct.pack_into("@Q", writer.tx, 264, 1 << 40),
    "tail back": lambda writer: struct.pack_into("@Q", writer.tx, 264, 0),
    "floor ahead": lambda writer: (writer.at.update(write_bulk=1 << 40), writer.send(text(1))),
    "no length": lambda writer: writer.lay_down(text(1), length=0),
    "length": lambda writer: writer.lay_down(text(1), length=1 << 30),
    "origin": lambda writer: writer.lay_down(text(1), origin=77),
    "sequence": lambda writer: writer.lay_down(text(1), sequence=9),
}


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("lie", LIES)
def test_a_sender_that_lies_in_its_log_is_thrown_out(bus, lie, files):
    """Alone; whoever reads goes on in the next log, and is sent what the next sender sends."""
    reader, writer = mapped(bus, os.O_RDONLY), direct(bus)
    file = bus.reader() if files else None
    reader.go_over(bus)
    writer.send(text(0))
    assert reader.receive() == text(0)
    assert bus.stats()["sent"] == 1
    LIES[lie](writer)
    writer.ring_bell()
    wait_for(lambda: len(bus.members()) == 1 + files, "it is thrown out")
    assert writer.is_corrupt()
    with raises_errno(errno.ECONNABORTED):
        os.write(writer.fd, b"x")
    reader.go_over(bus)
    other = direct(bus)
    reader.go_over(bus)
    other.send(text(2))
    assert reader.receive() == text(2)
    assert account(bus, reader) == (2, 0, 0)
    if files:
        assert [os.read(file, 100), os.read(file, 100)] == [text(0), text(2)]
    bus.check_accounts()


def test_random_bytes_over_the_senders_log_cost_it_alone(bus):
    """Trial 5, for who writes the log itself."""
    choose = random.Random(21)
    bus.set("writers", 1)
    bus.set("mtu", 1000)
    bus.set("depth", 10_000)
    file = bus.reader()
    for _ in range(10 if is_sanitized() else 40):
        liar = mapped(bus, os.O_WRONLY)
        assert liar.is_direct
        liar.send(b"true")
        assert os.read(file, 10_000) == b"true"
        scribble(liar, choose)
        assert len(bus.members()) in (1, 2)
        liar.detach()
        close(liar.fd)
        bus.wait_members(1)
        set_nonblock(file)
        with raises_errno(errno.EAGAIN):
            while True:
                os.read(file, 1000)
        set_nonblock(file, False)
    bus.check_accounts()


def test_the_senders_log_is_charged_to_it_and_given_back(open_bus, daemon):
    def used():
        try:
            return int(daemon.usage(ALICE)["bytes"])
        except FileNotFoundError:
            return 0

    open_bus.set("writers", 1)
    reader, before = mapped(open_bus, os.O_RDONLY), used()
    kept = Child(_map_and_wait_to_send, open_bus, uid=ALICE)
    wait_for(lambda: used() > before + (2 << 20), "it is charged")
    reader.go_over(open_bus)
    kept.kill()
    kept.reap()
    reader.go_over(open_bus)
    wait_for(lambda: open_bus.stats()["members"] == 1 and used() == before, "it is given back")


def _map_and_wait_to_send(bus):
    kept = mapped(bus, os.O_WRONLY)
    signal.pause()
    kept.detach()


def test_without_direct_mapping_no_sender_writes_the_log(fresh_daemon):
    daemon = fresh_daemon("[daemon]\ndirect = false\n").start()
    os.mkdir(daemon.path("buses", "plain"))
    plain = Bus(daemon, "plain")
    plain.set("writers", 1)
    with raises_errno(errno.EOPNOTSUPP):
        mapped(plain, os.O_WRONLY)
