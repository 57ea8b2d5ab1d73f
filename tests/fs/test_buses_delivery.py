# SPDX-License-Identifier: BSD-3-Clause
"""Lossy and lossless buses: who loses, who waits, who is cut off, and that it is all counted."""

import errno
import os
import select
import signal

import pytest
from buses import RECORD
from harness import close, set_nonblock, track
from procs import Child, paused, wait_blocked, wait_for
from sysc import raises_errno

MESSAGE = 10  # bytes
COST = MESSAGE + RECORD


def text(number):
    return b"%0*d" % (MESSAGE, number)


def read_to_the_end(bus):
    """Joins, and reads numbers until the message that ends it; retries where a stop interrupted."""
    fd = os.open(bus.bus, os.O_RDONLY)
    numbers = []
    while True:
        message = os.read(fd, 100)
        if message == b"end":
            os.close(fd)
            return numbers
        numbers.append(int(message))


def write_all(bus, count):
    fd = os.open(bus.bus, os.O_WRONLY)
    for number in range(count):
        os.write(fd, text(number))
    os.close(fd)


def readers(bus, count):
    """Children that read, and their ports."""
    children = [Child(read_to_the_end, bus) for _ in range(count)]
    bus.wait_members(count)
    ports = {member.pid: member.port for member in bus.members().values()}
    return children, [ports[child.pid] for child in children]


def poll_bits(fd, bits, timeout_ms=0):
    poller = select.poll()
    poller.register(fd, bits)
    return dict(poller.poll(timeout_ms)).get(fd, 0)


# --- lossy ---------------------------------------------------------------------------------------

def test_a_stopped_reader_of_a_lossy_bus_loses_and_nobody_else_notices(bus):
    count, batch = 10_000, 400
    bus.set("depth", 2 * batch * COST)
    (slow, *quick), (slow_port, *quick_ports) = readers(bus, 3)
    wait_blocked(slow.pid, "read")
    with paused(slow.pid):
        writer = bus.writer()
        for first in range(0, count, batch):
            for number in range(first, first + batch):
                os.write(writer, text(number))
            wait_for(lambda: not any(bus.members()[port].lag for port in quick_ports), "quick ones")
        members = bus.members()
        lost = members[slow_port].dropped
        assert lost == count - 2 * batch - members[slow_port].delivered
        assert [members[port].dropped for port in quick_ports] == [0, 0]
        assert bus.stats()["dropped"] == lost
        bus.check_accounts()
        os.write(writer, b"end")
        lost += 1  # made room for the last one, which costs less
        assert bus.members()[slow_port].dropped == lost
    for child in quick:
        assert child.result() == list(range(count))
    got = slow.result()
    assert got == sorted(got) and len(got) == count - lost and got[-1] == count - 1
    close(writer)
    bus.wait_members(0)
    stats = bus.stats()
    assert (stats["sent"], stats["dropped"], stats["lag"]) == (count + 1, lost, 0)
    assert stats["delivered"] == 3 * (count + 1) - lost


def test_a_reader_overtaken_inside_a_message_is_told_once(bus):
    bus.set("depth", 2 * COST)
    writer, reader = bus.writer(), bus.reader()
    os.write(writer, text(1))
    assert os.read(reader, 4) == text(1)[:4]
    for number in (2, 3):
        os.write(writer, text(number))
    assert poll_bits(reader, select.POLLIN) == select.POLLIN
    with raises_errno(errno.ESTALE):
        os.read(reader, 100)
    assert [os.read(reader, 100) for _ in range(2)] == [text(2), text(3)]
    assert bus.members()[2].dropped == 1


def test_a_lossy_bus_keeps_no_more_than_its_depth_and_charges_its_owner(daemon, bus):
    before = int(daemon.usage(0)["bytes"])
    reader, writer = bus.reader(), bus.writer()
    bus.set("depth", 10 * COST)
    for number in range(100):
        os.write(writer, text(number))
    assert int(daemon.usage(0)["bytes"]) == before + 10 * COST
    assert bus.members()[1].lag == 10
    bus.set("depth", 4 * COST)
    assert int(daemon.usage(0)["bytes"]) == before + 4 * COST
    assert bus.members()[1][4:7] == (4, 0, 96)
    close(reader)
    bus.wait_members(1)
    assert int(daemon.usage(0)["bytes"]) == before
    assert bus.stats()["dropped"] == 100
    close(writer)


def test_a_sender_on_a_lossy_bus_never_waits(bus):
    bus.set("depth", COST)
    reader, writer = bus.reader(), bus.writer(os.O_NONBLOCK)
    for number in range(1000):
        assert os.write(writer, text(number)) == MESSAGE
        assert poll_bits(writer, select.POLLOUT) == select.POLLOUT
    assert os.read(reader, 100) == text(999)


# --- lossless ------------------------------------------------------------------------------------

def test_a_stopped_reader_of_a_lossless_bus_makes_the_writer_wait(bus):
    count = 100
    bus.set("delivery", "lossless").set("depth", 10 * COST)
    (slow, quick), (slow_port, quick_port) = readers(bus, 2)
    wait_blocked(slow.pid, "read")
    with paused(slow.pid):
        writer = Child(write_all, bus, count)
        wait_blocked(writer.pid, "write")
        wait_for(lambda: bus.members()[slow_port].lag == 10, "as many as fit")
        wait_for(lambda: bus.members()[quick_port].lag == 0, "the quick one")
        other = bus.writer(os.O_NONBLOCK)
        with raises_errno(errno.EAGAIN):
            os.write(other, text(0))
        assert poll_bits(other, select.POLLOUT) == 0
    writer.result()
    assert poll_bits(other, select.POLLOUT, 10_000) == select.POLLOUT
    set_nonblock(other, False)
    os.write(other, b"end")
    assert slow.result() == quick.result() == list(range(count))
    assert bus.stats()["dropped"] == 0


def test_a_lossless_bus_without_readers_never_waits(bus):
    bus.set("delivery", "lossless").set("depth", 2 * COST)
    writer = bus.writer(os.O_NONBLOCK)
    for number in range(100):
        os.write(writer, text(number))
    assert bus.stats()["sent"] == 100


def test_writers_that_wait_go_on_when_the_reader_leaves(bus):
    bus.set("delivery", "lossless").set("depth", COST)
    reader = bus.reader()
    writers = [Child(write_all, bus, 3) for _ in range(3)]
    for writer in writers:
        wait_blocked(writer.pid, "write")
    close(reader)
    for writer in writers:
        writer.result()
    bus.wait_members(0)
    assert bus.stats()["sent"] == 9
    assert bus.stats()["dropped"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_writer_that_waits_is_killed_at_once_and_its_message_with_it(daemon, bus, number):
    bus.set("delivery", "lossless").set("depth", 2 * COST)
    reader = bus.reader()
    writer = Child(write_all, bus, 10)
    wait_blocked(writer.pid, "write")
    assert daemon.usage(0)["held"] == "1"
    writer.kill(number)
    writer.reap(1)
    bus.wait_members(1)
    assert daemon.usage(0)["held"] == "0"
    assert [os.read(reader, 100) for _ in range(2)] == [text(0), text(1)]
    set_nonblock(reader)
    with raises_errno(errno.EAGAIN):
        os.read(reader, 100)


def test_who_waits_in_front_is_served_first(bus):
    bus.set("delivery", "lossless").set("depth", 2 * COST)
    reader = bus.reader()
    first = bus.writer()
    os.write(first, text(0))
    long = Child(os.write, first, b"x" * 2 * MESSAGE, keep=[first])
    wait_blocked(long.pid, "write")
    second = bus.writer(os.O_NONBLOCK)
    with raises_errno(errno.EAGAIN):  # it would fit, but another one came before
        os.write(second, text(1))
    assert os.read(reader, 100) == text(0)
    assert long.result() == 2 * MESSAGE
    assert os.read(reader, 100) == b"x" * 2 * MESSAGE
    os.write(second, text(1))


def test_a_change_of_delivery_lets_the_waiting_go_on(bus):
    bus.set("delivery", "lossless").set("depth", 2 * COST)
    reader = bus.reader()
    writer = Child(write_all, bus, 10)
    wait_blocked(writer.pid, "write")
    bus.set("delivery", "lossy")
    writer.result()
    assert [os.read(reader, 100) for _ in range(2)] == [text(8), text(9)]


def test_a_greater_depth_lets_the_waiting_go_on(bus):
    bus.set("delivery", "lossless").set("depth", 2 * COST)
    bus.reader()
    writer = Child(write_all, bus, 10)
    wait_blocked(writer.pid, "write")
    bus.set("depth", 10 * COST)
    writer.result()
    assert bus.members()[1].lag == 10


def test_a_reader_that_blocks_too_long_is_cut_off(bus):
    bus.set("delivery", "lossless").set("depth", 2 * COST).set("evict", 1000)
    events = track(os.open(bus.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    stuck = bus.join()
    writer = Child(write_all, bus, 10)
    writer.result()
    bus.wait_members(0)
    assert poll_bits(stuck, select.POLLIN) == select.POLLERR | select.POLLHUP
    for call in (lambda: os.read(stuck, 100), lambda: os.write(stuck, b"x")):
        with raises_errno(errno.ECONNABORTED):
            call()
    lines = os.read(events, 65536).decode().splitlines()
    assert sum(line.endswith("port=1 mode=rw readers=0 writers=1 reason=evicted") for line in lines) == 1
    assert bus.stats()["dropped"] == 2
    os.rmdir(bus.path)
    with raises_errno(errno.ECONNABORTED):
        os.read(stuck, 100)


def test_a_shorter_patience_is_for_who_blocks_already(bus):
    bus.set("delivery", "lossless").set("depth", 2 * COST)
    stuck = bus.reader()
    writer = Child(write_all, bus, 10)
    wait_blocked(writer.pid, "write")
    bus.set("evict", 1000)
    writer.result()
    bus.wait_members(0)
    with raises_errno(errno.ECONNABORTED):
        os.read(stuck, 100)


def test_a_reader_that_goes_on_reading_is_not_cut_off(bus):
    bus.set("delivery", "lossless").set("depth", 2 * COST).set("evict", 20_000_000)
    (child,), _ = readers(bus, 1)
    Child(write_all, bus, 1000).result()
    os.write(bus.writer(), b"end")
    assert child.result() == list(range(1000))


def test_numbers_in_events_are_never_negative(bus):
    events = track(os.open(bus.file("events"), os.O_RDONLY | os.O_NONBLOCK))

    def come_and_go():
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR) * 5:
            os.close(os.open(bus.bus, flags))
    children = [Child(come_and_go) for _ in range(3)]
    for child in children:
        child.result()
    bus.wait_members(0)
    lines = os.read(events, 1 << 20).decode().splitlines()
    bus.check_event_counts(lines)
    assert len(lines) == 90
