# SPDX-License-Identifier: BSD-3-Clause
"""Message files: what read, write and their relatives do on the end of a flow."""

import errno
import fcntl
import mmap
import os
import signal
import socket
import subprocess

import pytest
import wire
from harness import close, set_nonblock, track
from procs import Child, sh
from sysc import copy_file_range, raises_errno, splice

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


# --- not a regular file, though it looks like one ----------------------------------------------

def test_the_reported_size_is_constant(name, flow):
    for path in (name.dial, name.accept):
        found = os.stat(path)
        assert (found.st_size, found.st_blocks, found.st_blksize) == (1048576, 2048, 4096)
    before = os.fstat(flow[0])
    os.write(flow[0], b"x" * 5000)
    after = os.fstat(flow[0])
    assert (before.st_size, before.st_blocks) == (after.st_size, after.st_blocks) == (1048576, 2048)


def test_truncating_changes_nothing(name, flow):
    os.write(flow[0], b"kept")
    os.ftruncate(flow[0], 0)
    os.truncate(name.dial, 7)
    assert os.stat(name.dial).st_size == 1048576
    assert os.read(flow[1], 10) == b"kept"


def test_splice_from_a_message_file_is_refused_and_loses_nothing(flow):
    readable, writable = map(track, os.pipe())
    os.write(flow[0], b"kept")
    for _ in range(2):
        with raises_errno(errno.EINVAL):
            splice(flow[1], writable, 4096)
    assert os.read(flow[1], 100) == b"kept"
    os.set_blocking(readable, False)
    with raises_errno(errno.EAGAIN):
        os.read(readable, 1)


def test_sendfile_from_a_message_file_is_refused_and_loses_nothing(flow):
    left, right = socket.socketpair()
    with left, right:
        os.write(flow[0], b"kept")
        with raises_errno(errno.EINVAL, errno.ESPIPE):
            os.sendfile(left.fileno(), flow[1], None, 4096)
    assert os.read(flow[1], 100) == b"kept"


def test_copy_file_range_from_a_message_file_is_refused_and_loses_nothing(flow, tmp_path):
    target = track(os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT))
    os.write(flow[0], b"kept")
    with raises_errno(errno.EINVAL, errno.EXDEV, errno.EOPNOTSUPP, errno.ESPIPE):
        copy_file_range(flow[1], target, 4096)
    assert os.read(flow[1], 100) == b"kept"


def test_a_message_file_cannot_be_mapped(flow):
    with pytest.raises(OSError):
        mmap.mmap(flow[0], 4096, mmap.MAP_SHARED)


def test_a_private_mapping_is_of_no_use_and_loses_nothing(flow):
    """The kernel itself allows the mmap; what it reads through it, it asks the daemon for in vain."""
    os.write(flow[0], b"kept")

    def touch():
        return mmap.mmap(flow[1], 4096, mmap.MAP_PRIVATE, mmap.PROT_READ)[0]
    child = Child(touch, keep=[flow[1]])
    assert os.WTERMSIG(child.reap()) == signal.SIGBUS
    assert os.read(flow[1], 10) == b"kept"


def test_locks_are_refused(flow):
    with raises_errno(errno.ENOLCK):
        fcntl.flock(flow[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
    with raises_errno(errno.ENOLCK):
        fcntl.lockf(flow[0], fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_message_file_cannot_be_executed(name):
    os.chmod(name.dial, 0o777)
    with raises_errno(errno.EACCES):
        os.execv(name.dial, ["dial"])
    with pytest.raises(PermissionError):
        subprocess.run([name.accept], check=False)


def test_fsync_does_no_harm(flow):
    try:
        os.fsync(flow[0])
    except OSError as error:
        assert error.errno == errno.EINVAL  # as on a pipe
    os.write(flow[0], b"x")
    assert os.read(flow[1], 1) == b"x"


def test_fallocate_is_refused(flow):
    with raises_errno(errno.EOPNOTSUPP, errno.ENODEV, errno.ESPIPE, errno.EINVAL):
        os.posix_fallocate(flow[0], 0, 10)


def test_the_descriptor_says_which_file_it_is(name, flow):
    assert name.dial in os.readlink(f"/proc/self/fd/{flow[0]}")


def test_fstat_of_a_descriptor_answers_for_the_life_of_the_flow(name, flow):
    assert os.fstat(flow[0]).st_ino == os.stat(name.dial).st_ino
    os.rename(name.path, name.path + "x")
    assert os.fstat(flow[0]).st_size == 1048576


def test_reopening_through_proc_makes_a_flow_of_its_own(daemon, name):
    client, server = name.pair()
    other = Child(os.open, name.accept, os.O_RDWR)
    daemon.wait_states(accept_pending=1)
    again = track(os.open(f"/proc/self/fd/{client}", os.O_RDWR))
    other.result()
    os.write(client, b"first")
    assert os.read(server, 10) == b"first"


def test_a_message_file_bound_elsewhere_dials_the_name(daemon, name, tmp_path):
    target = tmp_path / "bound"
    target.touch()
    sh(f"mount --bind {name.dial} {target}")
    try:
        first, second = (Child(_serve_echo, name) for _ in range(2))
        daemon.wait_states(accept_pending=2)
        for _ in range(2):
            fd = track(os.open(target, os.O_RDWR))
            os.write(fd, b"hi")
            assert os.read(fd, 10) == b"hi"
            close(fd)
        first.result(), second.result()
    finally:
        sh(f"umount {target}", check=False)


def _serve_echo(name):
    fd = os.open(name.accept, os.O_RDWR)
    while data := os.read(fd, MTU):
        os.write(fd, data)


# --- independence ------------------------------------------------------------------------------

def test_a_waiting_reader_does_not_delay_a_writer_of_the_same_descriptor(flow):
    client, server = flow
    reader = Child(os.read, client, 100, keep=[client]).wait_blocked("read")
    assert os.write(client, b"through") == 7
    assert os.read(server, 100) == b"through"
    os.write(server, b"answer")
    assert reader.result() == b"answer"


def test_a_waiting_writer_does_not_delay_a_reader_of_the_same_descriptor(name):
    client, server = name.set("depth", 4096).pair()
    writer = Child(lambda: [os.write(client, b"x" * 4096) for _ in range(2)] and None, keep=[client])
    writer.wait_blocked("write")
    os.write(server, b"answer")
    assert os.read(client, 100) == b"answer"
    assert len(os.read(server, 5000)) == len(os.read(server, 5000)) == 4096
    writer.result()


def test_one_full_flow_does_not_delay_another(name):
    client, _ = name.set("depth", 4096).pair()
    writer = Child(lambda: [os.write(client, b"x" * 4096) for _ in range(2)] and None, keep=[client])
    writer.wait_blocked("write")
    other, server = name.pair()
    os.write(other, b"free")
    assert os.read(server, 10) == b"free"


def test_a_waiting_writer_does_not_delay_chmod_stat_or_truncating_opens(name):
    client, _ = name.set("depth", 4096).pair()
    writer = Child(lambda: [os.write(client, b"x" * 4096) for _ in range(2)] and None, keep=[client])
    writer.wait_blocked("write")

    def others():
        os.chmod(name.dial, 0o666)
        os.stat(name.dial)
        os.fstat(client)
        os.close(os.open(name.dial, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK))
    Child(others, keep=[client]).result()


def test_two_writers_on_one_description_both_get_through(name):
    client, server = name.set("depth", 4096).pair()

    def send(letter):
        for _ in range(20):
            os.write(client, letter * 4096)
    writers = [Child(send, letter, keep=[client]) for letter in (b"a", b"b")]
    for writer in writers:
        writer.wait_blocked("write")
    seen = b"".join(os.read(server, 8192) for _ in range(40))
    assert seen.count(b"a") == seen.count(b"b") == 20 * 4096
    for writer in writers:
        writer.result()


def test_two_readers_on_one_description_share_the_messages(flow):
    readers = [Child(os.read, flow[1], 100, keep=[flow[1]]).wait_blocked("read") for _ in range(2)]
    os.write(flow[0], b"x")
    os.write(flow[0], b"y")
    assert {readers[0].result(), readers[1].result()} == {b"x", b"y"}


def test_a_nonblocking_second_writer_is_not_held_up(name):
    client, _ = name.set("depth", 4096).pair()
    writer = Child(lambda: [os.write(client, b"x" * 4096) for _ in range(2)] and None, keep=[client])
    writer.wait_blocked("write")
    set_nonblock(client)
    with raises_errno(errno.EAGAIN):
        os.write(client, b"y")


def test_a_descriptor_passed_over_a_socket_is_the_same_end(flow):
    client, server = flow
    left, right = socket.socketpair()

    def receive(sock):
        _, (fd,), _, _ = socket.recv_fds(sock, 1, 1)
        os.write(fd, b"from elsewhere")
        return wire.flow_id(fd)
    child = Child(receive, right, keep=[right.fileno()])
    socket.send_fds(left, [b"x"], [client])
    identity = wire.flow_id(client)
    close(client)
    assert os.read(server, 100) == b"from elsewhere"
    assert child.result() == identity
    assert os.read(server, 100) == b""
    left.close(), right.close()


def test_a_descriptor_in_flight_keeps_the_flow_alive(flow):
    client, server = flow
    left, right = socket.socketpair()
    socket.send_fds(left, [b"x"], [client])
    close(client)
    set_nonblock(server)
    with raises_errno(errno.EAGAIN):
        os.read(server, 1)
    left.close(), right.close()
    set_nonblock(server, False)
    assert os.read(server, 1) == b""
