# SPDX-License-Identifier: BSD-3-Clause
"""Message files that look like regular files and are none, and independence of those who wait."""

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
    track(os.open(f"/proc/self/fd/{client}", os.O_RDWR))
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
