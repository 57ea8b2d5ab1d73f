# SPDX-License-Identifier: BSD-3-Clause
"""What goes over a bus: messages, their boundaries, who gets them, and who waits."""

import errno
import os
import select
import signal
import subprocess

import pytest
import wire
from harness import close, set_nonblock
from procs import Child, as_user, describe, sh, wait_blocked, wait_for
from sysc import raises_errno

ALICE = 61001
MTU = 917504


@pytest.fixture
def pair(bus):
    """(writer, reader)."""
    return bus.writer(), bus.reader()


def test_three_cats_and_one_echo(bus):
    cats = [subprocess.Popen(["cat", bus.bus], stdout=subprocess.PIPE) for _ in range(3)]
    try:
        bus.wait_members(3)
        sh(f"echo hi > {bus.bus}")
        assert [cat.stdout.readline() for cat in cats] == [b"hi\n"] * 3
    finally:
        for cat in cats:
            cat.kill()
            cat.wait()
            cat.stdout.close()
    bus.wait_members(0)


def test_a_shell_joins_in_both_directions(bus):
    done = sh(f"""
        exec 3<> {bus.bus} 4<> {bus.bus}
        echo one >&3; echo two >&4
        read -r a <&4; read -r b <&3; echo "$a $b" """)
    assert done.out == "one two\n"


def test_a_sender_does_not_hear_itself(bus):
    one, two = bus.join(os.O_RDWR | os.O_NONBLOCK), bus.join()
    os.write(one, b"mine")
    assert os.read(two, 100) == b"mine"
    with raises_errno(errno.EAGAIN):
        os.read(one, 100)
    os.write(two, b"yours")
    assert os.read(one, 100) == b"yours"


def test_two_writes_of_ten_bytes_are_two_reads(pair):
    writer, reader = pair
    os.write(writer, b"0123456789")
    os.write(writer, b"abcdefghij")
    assert os.read(reader, 100) == b"0123456789"
    assert os.read(reader, 100) == b"abcdefghij"


def test_a_short_read_continues_with_the_same_message(pair):
    writer, reader = pair
    os.write(writer, b"abcdefgh")
    os.write(writer, b"next")
    assert [os.read(reader, 3) for _ in range(4)] == [b"abc", b"def", b"gh", b"nex"]
    assert os.read(reader, 3) == b"t"


def test_bytes_arrive_as_they_were_sent(pair):
    writer, reader = pair
    for size in (1, 4095, 4096, 4097, 65536, MTU - 1, MTU):
        message = os.urandom(size)
        assert os.write(writer, message) == size
        assert os.read(reader, MTU) == message


def test_writev_of_sixteen_parts_is_one_message(pair):
    writer, reader = pair
    assert os.writev(writer, [b"x" * 1000] * 16) == 16_000
    assert os.read(reader, MTU) == b"x" * 16_000


def test_what_is_too_long_is_refused_whole(bus, pair):
    writer, reader = pair
    bus.set("mtu", 10)
    with raises_errno(errno.EMSGSIZE):
        os.write(writer, b"01234567890")
    with raises_errno(errno.EMSGSIZE):
        os.write(writer, b"x" * (2 * MTU))
    os.write(writer, b"0123456789")
    assert os.read(reader, 100) == b"0123456789"
    assert bus.stats()["sent"] == 1


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_no_part_is_sent_of_what_no_write_brings_whole(bus, flags):
    """However long the messages of mapped members may be."""
    bus.set("mtu", 8 << 20).set("depth", 32 << 20)
    writer, reader = bus.writer(flags), bus.reader()
    for size in (MTU + 1, 1 << 20, 4_000_000):
        with raises_errno(errno.EMSGSIZE):
            os.write(writer, bytes(size))
    assert os.write(writer, bytes(MTU)) == len(os.read(reader, 2 * MTU)) == MTU
    assert bus.stats()["sent"] == 1


def test_an_offset_has_no_meaning_here(pair):
    writer, reader = pair
    with raises_errno(errno.ESPIPE):
        os.pwrite(writer, b"x", 5)
    with raises_errno(errno.ESPIPE):
        os.lseek(reader, 0, os.SEEK_SET)


def test_packet_mode_refuses_a_short_read_and_keeps_the_message(pair):
    writer, reader = pair
    wire.set_packet_mode(reader)
    os.write(writer, b"0123456789")
    with raises_errno(errno.EMSGSIZE):
        os.read(reader, 9)
    assert os.read(reader, 10) == b"0123456789"


def test_the_id_of_a_member_is_its_port(bus, pair):
    assert [wire.flow_id(fd) for fd in pair] == [1, 2]
    assert sorted(bus.members()) == [1, 2]


def test_page_cache_reads_lose_nothing(pair):
    writer, reader = pair
    os.write(writer, b"kept")
    readable, writable = os.pipe()
    with raises_errno(errno.EINVAL):
        os.splice(reader, writable, 100)
    close_pipe = (readable, writable)
    assert os.read(reader, 100) == b"kept"
    for fd in close_pipe:
        os.close(fd)


def test_poll_tells_of_messages_and_of_room(bus):
    fd, other = bus.join(), bus.join()
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLOUT)
    assert poller.poll(0) == [(fd, select.POLLOUT)]
    os.write(other, b"x")
    assert poller.poll(10_000) == [(fd, select.POLLIN | select.POLLOUT)]
    os.read(fd, 1)
    assert poller.poll(0) == [(fd, select.POLLOUT)]


def test_poll_wakes_a_reader_that_sleeps(bus):
    reader = bus.reader()

    def wait():
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        return [events for _, events in poller.poll()], os.read(reader, 100)
    child = Child(wait, keep=[reader])
    wait_for(lambda: "poll_schedule" in describe(child.pid), "the child in poll")
    os.write(bus.writer(), b"awake")
    assert child.result() == ([select.POLLIN], b"awake")


def test_a_reader_waits_until_there_is_a_message(bus):
    child = Child(lambda fd: os.read(fd, 100), bus.reader(), keep=range(3, 200))
    wait_blocked(child.pid, "read")
    os.write(bus.writer(), b"at last")
    assert child.result() == b"at last"


def test_a_reader_that_waits_does_not_hold_up_a_writer(bus):
    both = bus.join()
    other = bus.join()
    child = Child(os.read, both, 100, keep=[both])
    wait_blocked(child.pid, "read")
    assert os.write(both, b"out") == 3
    assert os.read(other, 100) == b"out"
    os.write(other, b"in")
    assert child.result() == b"in"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_reader_that_waits_is_killed_at_once_and_its_port_is_free(bus, number):
    child = Child(lambda: os.read(os.open(bus.bus, os.O_RDONLY), 100))
    wait_blocked(child.pid, "read")
    assert len(bus.members()) == 1
    child.kill(number)
    child.reap(1)
    bus.wait_members(0)
    os.rmdir(bus.path)


def test_the_port_of_a_killed_member_is_free_for_the_next(bus):
    bus.set("ports", 1)
    child = Child(lambda: os.read(os.open(bus.bus, os.O_RDWR), 100))
    wait_blocked(child.pid, "read")
    with raises_errno(errno.EADDRNOTAVAIL):
        bus.join()
    child.kill()
    child.reap()
    bus.wait_members(0)
    bus.join()


def test_a_late_joiner_gets_what_is_sent_afterwards(bus):
    writer, early = bus.writer(), bus.reader()
    os.write(writer, b"before")
    late = bus.reader()
    os.write(writer, b"after")
    assert [os.read(early, 100) for _ in range(2)] == [b"before", b"after"]
    assert os.read(late, 100) == b"after"


def test_a_late_joiner_gets_the_history_first(bus):
    bus.set("history", 2)
    for text in ("one", "two", "three"):
        sh(f"echo {text} > {bus.bus}")
    bus.wait_members(0)
    late = bus.reader()
    os.write(bus.writer(), b"four\n")
    assert [os.read(late, 100) for _ in range(3)] == [b"two\n", b"three\n", b"four\n"]
    set_nonblock(late)
    with raises_errno(errno.EAGAIN):
        os.read(late, 100)


def test_a_descriptor_that_is_shared_is_one_member(bus):
    fd, writer = bus.reader(), bus.writer()
    first = Child(os.read, fd, 100, keep=[fd])
    second = Child(os.read, fd, 100, keep=[fd])
    for child in (first, second):
        wait_blocked(child.pid, "read")
    assert len(bus.members()) == 2
    os.write(writer, b"a")
    os.write(writer, b"b")
    assert sorted([first.result(), second.result()]) == [b"a", b"b"]


def test_every_message_of_many_senders_arrives_in_their_order(bus):
    def send(number):
        fd = os.open(bus.bus, os.O_WRONLY)
        for i in range(200):
            os.write(fd, f"{number} {i}".encode())
        os.close(fd)
    reader = bus.reader()
    senders = [Child(send, number) for number in range(4)]
    got = [tuple(map(int, os.read(reader, 100).split())) for _ in range(800)]
    for sender in senders:
        sender.result()
    for number in range(4):
        assert [i for sender, i in got if sender == number] == list(range(200))
    bus.wait_members(1)
    bus.check_accounts()


def test_mode_bits_are_the_directions(open_bus):
    def alice(flags):
        os.close(os.open(open_bus.bus, flags))
    for mode, allowed in {0o704: {os.O_RDONLY}, 0o702: {os.O_WRONLY}, 0o701: set(),
                          0o706: {os.O_RDONLY, os.O_WRONLY, os.O_RDWR}, 0o700: set()}.items():
        os.chmod(open_bus.bus, mode)
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            if flags in allowed:
                as_user(ALICE, alice, flags)
            else:
                with raises_errno(errno.EACCES):
                    as_user(ALICE, alice, flags)
    open_bus.wait_members(0)


def test_a_bus_of_the_right_to_receive_only_gets_nothing_from_there(open_bus):
    os.chown(open_bus.bus, ALICE, ALICE)
    os.chmod(open_bus.bus, 0o440)
    reader = Child(lambda: os.read(os.open(open_bus.bus, os.O_RDONLY), 100), uid=ALICE)
    wait_blocked(reader.pid, "read")
    with raises_errno(errno.EACCES):
        as_user(ALICE, os.open, open_bus.bus, os.O_WRONLY)
    os.chmod(open_bus.bus, 0o220)  # opens that have been go on
    with raises_errno(errno.EACCES):
        as_user(ALICE, os.open, open_bus.bus, os.O_RDONLY)
    as_user(ALICE, lambda: os.write(os.open(open_bus.bus, os.O_WRONLY), b"from alice"))
    assert reader.result() == b"from alice"


def test_closing_while_another_thread_polls_ends_nothing_else(bus):
    fd = bus.reader()
    duplicate = os.dup(fd)
    close(fd)
    assert len(bus.members()) == 1
    os.close(duplicate)
    bus.wait_members(0)
