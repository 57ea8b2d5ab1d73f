# SPDX-License-Identifier: BSD-3-Clause
"""Message files: what read, write and their relatives do on the end of a flow."""

import errno
import fcntl
import os

import pytest
import wire
from harness import close, set_nonblock, track
from procs import Child
from sysc import raises_errno

MTU = 917504


@pytest.fixture
def flow(name):
    """(client, server), both directions, blocking."""
    return name.pair()


def both(flow):
    """Each direction once: (writer, reader)."""
    return [(flow[0], flow[1]), (flow[1], flow[0])]


# --- boundaries --------------------------------------------------------------------------------

def test_one_write_is_one_read(flow):
    for writer, reader in both(flow):
        for message in (b"one", b"two", b"", b"three"):
            os.write(writer, message)
        assert [os.read(reader, 100) for _ in range(3)] == [b"one", b"two", b"three"]


def test_bytes_arrive_as_they_were_sent(flow):
    for size in (1, 2, 255, 4095, 4096, 4097, 65536, 100_000, MTU - 1, MTU):
        message = os.urandom(size)
        assert os.write(flow[0], message) == size
        assert os.read(flow[1], MTU) == message


def test_a_read_of_exactly_the_size_gives_exactly_the_message(flow):
    for size in (1, 4096, 8192, 65536):
        os.write(flow[0], b"a" * size)
        os.write(flow[0], b"b")
        assert os.read(flow[1], size) == b"a" * size
        assert os.read(flow[1], size) == b"b"


def test_a_short_read_continues_with_the_same_message(flow):
    for writer, reader in both(flow):
        os.write(writer, b"abcdefgh")
        os.write(writer, b"next")
        assert [os.read(reader, 3) for _ in range(4)] == [b"abc", b"def", b"gh", b"nex"]
        assert os.read(reader, 3) == b"t"


def test_reading_one_byte_at_a_time_gives_the_stream(flow):
    os.write(flow[0], b"ab")
    os.write(flow[0], b"cd")
    assert [os.read(flow[1], 1) for _ in range(4)] == [b"a", b"b", b"c", b"d"]


def test_a_large_message_is_read_in_pieces(flow):
    message = os.urandom(MTU)
    os.write(flow[0], message)
    parts = []
    while sum(map(len, parts)) < MTU:
        parts.append(os.read(flow[1], 60_000))
    assert b"".join(parts) == message


def test_readv_fills_its_parts_from_one_message(flow):
    os.write(flow[0], b"abcdef")
    os.write(flow[0], b"other")
    parts = [bytearray(4), bytearray(4)]
    assert os.readv(flow[1], parts) == 6
    assert bytes(parts[0] + parts[1][:2]) == b"abcdef"


def test_writev_is_one_message_up_to_16_segments_at_the_mtu(flow):
    parts = [bytes([i]) * (MTU // 16) for i in range(16)]
    assert sum(map(len, parts)) == MTU
    assert os.writev(flow[0], parts) == MTU
    assert os.read(flow[1], MTU) == b"".join(parts)


def test_writev_of_16_small_odd_segments_is_one_message(flow):
    parts = [bytes([65 + i]) * (i * 7 + 1) for i in range(16)]
    os.writev(flow[0], parts)
    assert os.read(flow[1], MTU) == b"".join(parts)


def test_unaligned_buffers_hold_a_message_of_the_mtu(flow):
    message = memoryview(os.urandom(MTU + 1))[1:]
    assert os.write(flow[0], message) == MTU
    assert os.read(flow[1], MTU) == message


def test_a_zero_length_write_is_no_message(flow):
    assert os.write(flow[0], b"") == 0
    os.write(flow[0], b"x")
    assert os.read(flow[1], 10) == b"x"


def test_a_zero_length_read_takes_nothing(flow):
    os.write(flow[0], b"x")
    assert os.read(flow[1], 0) == b""
    assert os.read(flow[1], 10) == b"x"


def test_order_holds_over_many_messages(name):
    client, server = name.pair()
    count = 2000
    sender = Child(lambda: [os.write(client, b"%d" % i) for i in range(count)] and None, keep=[client])
    assert [os.read(server, 100) for _ in range(count)] == [b"%d" % i for i in range(count)]
    sender.result()


# --- packet mode -------------------------------------------------------------------------------

def test_packet_mode_refuses_a_short_read_and_keeps_the_message(flow):
    wire.set_packet_mode(flow[1])
    os.write(flow[0], b"abcdef")
    for _ in range(2):
        with raises_errno(errno.EMSGSIZE):
            os.read(flow[1], 5)
    assert os.read(flow[1], 6) == b"abcdef"


def test_packet_mode_is_of_one_descriptor_only(flow):
    wire.set_packet_mode(flow[1])
    os.write(flow[1], b"abc")
    assert os.read(flow[0], 2) == b"ab"


def test_packet_mode_can_be_left(flow):
    wire.set_packet_mode(flow[1])
    wire.set_packet_mode(flow[1], False)
    os.write(flow[0], b"abc")
    assert os.read(flow[1], 2) == b"ab"


@pytest.mark.parametrize("value", [2, 0xFFFFFFFF])
def test_packet_mode_is_0_or_1_and_stays_where_it_is_neither(flow, value):
    wire.set_packet_mode(flow[1])
    with raises_errno(errno.EINVAL):
        wire.set_packet_mode(flow[1], value)
    os.write(flow[0], b"abc")
    with raises_errno(errno.EMSGSIZE):
        os.read(flow[1], 2)


# --- what is too long, and offsets -------------------------------------------------------------

@pytest.mark.parametrize("flags", [0, os.O_APPEND])
@pytest.mark.parametrize("size", [MTU + 1, 1 << 20, (1 << 20) + 1, 2 << 20])
def test_a_message_beyond_the_mtu_is_refused_whole(name, flags, size):
    client, server = name.pair(client=os.O_RDWR | flags)
    with raises_errno(errno.EMSGSIZE):
        os.write(client, b"x" * size)
    os.write(client, b"after")
    assert os.read(server, MTU) == b"after"


@pytest.mark.parametrize("mtu", [1, 100, 4096])
def test_the_mtu_of_the_name_is_the_limit(name, mtu):
    client, server = name.set("mtu", mtu).pair()
    for fd in (client, server):
        with raises_errno(errno.EMSGSIZE):
            os.write(fd, b"x" * (mtu + 1))
        assert os.write(fd, b"x" * mtu) == mtu


def test_writev_beyond_the_mtu_is_refused_whole(flow):
    with raises_errno(errno.EMSGSIZE):
        os.writev(flow[0], [b"x" * 100_000] * 10)
    os.write(flow[0], b"after")
    assert os.read(flow[1], MTU) == b"after"


def test_pwrite_is_not_seekable(flow):
    with raises_errno(errno.ESPIPE):
        os.pwrite(flow[0], b"x", 1)
    os.write(flow[0], b"after")
    assert os.read(flow[1], 100) == b"after"


def test_lseek_is_refused(flow):
    for whence in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
        with raises_errno(errno.ESPIPE):
            os.lseek(flow[0], 0, whence)


def test_appending_writes_have_no_offset(name):
    client, server = name.pair(client=os.O_WRONLY | os.O_APPEND)
    for i in range(5):
        os.write(client, b"%d" % i)
    assert [os.read(server, 9) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_append_can_be_switched_on_later(flow):
    os.write(flow[0], b"1")
    fcntl.fcntl(flow[0], fcntl.F_SETFL, os.O_APPEND)
    os.write(flow[0], b"2")
    assert [os.read(flow[1], 9), os.read(flow[1], 9)] == [b"1", b"2"]


# --- the end -----------------------------------------------------------------------------------

def test_end_of_file_comes_after_the_rest(flow):
    for message in (b"one", b"two"):
        os.write(flow[0], message)
    close(flow[0])
    assert [os.read(flow[1], 2) for _ in range(4)] == [b"on", b"e", b"tw", b"o"]
    assert [os.read(flow[1], 2) for _ in range(3)] == [b""] * 3


def test_end_of_file_from_the_server_too(flow):
    os.write(flow[1], b"bye")
    close(flow[1])
    assert [os.read(flow[0], 100), os.read(flow[0], 100)] == [b"bye", b""]


def test_a_waiting_reader_sees_the_end(flow):
    reader = Child(os.read, flow[1], 100, keep=[flow[1]]).wait_blocked("read")
    close(flow[0])
    assert reader.result() == b""


def test_writing_after_the_other_side_has_gone_breaks_the_pipe(flow):
    close(flow[1])
    with raises_errno(errno.EPIPE):
        os.write(flow[0], b"x")


def test_the_server_sees_a_broken_pipe_too(flow):
    close(flow[0])
    with raises_errno(errno.EPIPE):
        os.write(flow[1], b"x")


def test_a_waiting_writer_sees_the_other_side_go(name):
    client, server = name.set("depth", 4096).pair()

    def fill():
        while True:
            os.write(client, b"x" * 4096)
    writer = Child(fill, keep=[client]).wait_blocked("write")
    close(server)
    with raises_errno(errno.EPIPE):
        writer.result()


def test_the_end_comes_with_the_last_descriptor(flow):
    again = track(os.dup(flow[0]))
    close(flow[0])
    os.write(again, b"alive")
    assert os.read(flow[1], 10) == b"alive"
    close(again)
    assert os.read(flow[1], 10) == b""


def test_the_end_comes_when_the_process_is_killed(name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)

    def dial_and_stay():
        fd = os.open(name.dial, os.O_RDWR)
        os.write(fd, b"last words")
        os.read(fd, 1)
    client = Child(dial_and_stay).wait_blocked("read")
    set_nonblock(server, False)
    client.kill()
    client.reap()
    assert [os.read(server, 100), os.read(server, 100)] == [b"last words", b""]


def test_what_the_client_sent_before_it_closed_is_delivered(name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = name.open_dial(os.O_WRONLY)
    os.write(client, b"one")
    os.write(client, b"two")
    close(client)
    set_nonblock(server, False)
    assert [os.read(server, 9), os.read(server, 9), os.read(server, 9)] == [b"one", b"two", b""]


# --- half of a flow by the mode of the open ----------------------------------------------------

def test_a_client_that_only_sends_breaks_the_servers_pipe(name):
    client, server = name.pair(client=os.O_WRONLY)
    with raises_errno(errno.EPIPE):
        os.write(server, b"x")
    os.write(client, b"still sends")
    assert os.read(server, 100) == b"still sends"
    with raises_errno(errno.EBADF):
        os.read(client, 1)


def test_a_client_that_only_receives_gives_the_server_end_of_file(name):
    client, server = name.pair(client=os.O_RDONLY)
    assert os.read(server, 10) == b""
    os.write(server, b"news")
    assert os.read(client, 100) == b"news"


def test_a_server_that_only_receives_gives_the_client_end_of_file(name):
    client, server = name.pair(server=os.O_RDONLY)
    assert os.read(client, 10) == b""
    os.write(client, b"log line")
    assert os.read(server, 100) == b"log line"


def test_a_server_that_only_sends_breaks_the_clients_pipe(name):
    client, server = name.pair(server=os.O_WRONLY)
    with raises_errno(errno.EPIPE):
        os.write(client, b"x")
    os.write(server, b"tick")
    assert os.read(client, 100) == b"tick"


def test_two_ends_without_a_common_direction_see_nothing(name):
    client, server = name.pair(client=os.O_RDONLY, server=os.O_RDONLY)
    assert (os.read(client, 1), os.read(server, 1)) == (b"", b"")
