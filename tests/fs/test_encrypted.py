# SPDX-License-Identifier: BSD-3-Clause
"""Flows within the machine whose messages are sealed: between files, between programs that map them,
and between one and the other; the key of an end, and those who lie."""

import errno
import mmap
import os
import signal
import stat

import pytest
import wire
from harness import Name, close, is_sanitized, read_text, read_values, set_nonblock, track, write_text
from lib import FILE, MODES, can_map, in_python, pair  # pylint: disable=unused-import
from mapped import MappedEnd
from procs import Child, as_user, wait_for
from sysc import raises_errno

ALICE = 61001
MTU = 917504
PLAIN = b"what nobody else may see"
KEY_BYTES = 96


@pytest.fixture
def sealed(name):
    """A name whose flows are encrypted or are not."""
    write_text(name.file("security", "encrypt"), "require")
    return name


@pytest.fixture(params=MODES, ids=lambda modes: "-".join("file" if m else "mapped" for m in modes))
def flow(request, can_map, sealed):  # pylint: disable=redefined-outer-name
    """(client, server) of an encrypted flow, each end in either mode."""
    if is_sanitized():
        pytest.skip("this interpreter cannot load a library built with a sanitizer")
    client, server = pair(sealed, *request.param)
    yield client, server
    client.close()
    server.close()


def folder(daemon, fd, *parts):
    return daemon.path("flows", str(wire.flow_id(fd)), *parts)


def values(daemon, fd, file):
    return read_values(folder(daemon, fd, file))


def read_key_file(path):
    key = os.open(path, os.O_RDONLY)
    try:
        return os.read(key, KEY_BYTES)
    finally:
        os.close(key)


def read_key(daemon, fd):
    return read_key_file(folder(daemon, fd, "key"))


def memory_of(daemon, number):
    """Everything in the segment of an end."""
    fd = os.open(daemon.path("flows", str(number), "tx"), os.O_RDONLY)
    try:
        with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            return memory[:]
    finally:
        os.close(fd)


# --- files ---------------------------------------------------------------------------------------

def test_files_are_read_as_they_were_written(sealed):
    client, server = sealed.pair()
    for message in (b"x", PLAIN, os.urandom(MTU)):
        os.write(client, message)
        assert os.read(server, MTU) == message
    os.write(server, b"back")
    assert os.read(client, 2) + os.read(client, 10) == b"back"
    with raises_errno(errno.EMSGSIZE):
        os.write(client, bytes(MTU + 1))


def test_what_peer_says_of_it(daemon, name, sealed):
    for fd in sealed.pair():
        peer = values(daemon, fd, "peer")
        assert (peer["cipher"], peer["signed"]) == ("aes-256-gcm", "none")
        assert "x25519" in peer["key_exchange"]
    write_text(name.file("security", "encrypt"), "off")
    for fd in name.pair():
        peer = values(daemon, fd, "peer")
        assert (peer["cipher"], peer["key_exchange"], peer["signed"]) == ("none", "none", "none")


def test_limits_and_counts_are_of_what_was_written(daemon, sealed):
    write_text(sealed.file("mtu"), "1000")
    write_text(sealed.file("depth"), "4000")
    client, server = sealed.pair(nonblock=True)
    for _ in range(4):
        os.write(client, bytes(1000))
    with raises_errno(errno.EAGAIN):
        os.write(client, b"x")
    assert values(daemon, client, "stats")["bytes_queued"] == "4000"
    for _ in range(4):
        assert os.read(server, 2000) == bytes(1000)
    sent = values(daemon, client, "stats")
    assert (sent["messages_sent"], sent["bytes_sent"], sent["drops"]) == ("4", "4000", "0")
    assert sealed.stats()["bytes_from_client"] == "4000"


# --- the library -----------------------------------------------------------------------------------

def test_messages_of_all_lengths(flow):
    client, server = flow
    for length in (1, 16, 1000, 3540, 3541, 16384, 100_000, MTU):
        for sender, receiver in (flow, flow[::-1]):
            message = os.urandom(length)
            sender.send(message, timeout=5)
            assert receiver.recv(timeout=5) == message
    with raises_errno(errno.EMSGSIZE):
        client.send(bytes(MTU + 1), timeout=5)
    client.close()
    assert server.recv(timeout=5) == b""


def test_pieces_and_many_at_once(flow):
    client, server = flow
    client.sendv([b"one ", b"message of ", b"pieces"], timeout=5)
    into = [bytearray(4), bytearray(100)]
    assert server.recvv_into(into, timeout=5) == 21
    assert bytes(into[0]) == b"one " and bytes(into[1][:17]) == b"message of pieces"
    messages = [b"%d" % i for i in range(40)]
    assert client.send_many(messages, timeout=5) == 40
    got = []
    while len(got) < 40:
        got += server.recv_many(40, timeout=5)
    assert [bytes(message) for message in got] == messages


def test_a_buffer_too_short_keeps_the_message(flow):
    client, server = flow
    client.send(PLAIN, timeout=5)
    with raises_errno(errno.EMSGSIZE):
        server.recv_into(bytearray(len(PLAIN) - 1), timeout=5)
    assert server.recv(timeout=5) == PLAIN


def test_loans_and_borrows(flow):
    client, server = flow
    for length in (100, 50_000):
        message = os.urandom(length)
        with client.loan(length, timeout=5) as space:
            space.data[:] = message
            space.commit(timeout=5)
        with server.borrow(timeout=5) as view:
            assert view.data == message
            view.forward(server, timeout=5)
        assert client.recv(timeout=5) == message


def test_a_full_flow_makes_its_sender_wait(flow):
    client, server = flow
    sent = 0
    with raises_errno(errno.EAGAIN):
        while True:
            client.send(b"%05000d" % sent, timeout=0)
            sent += 1
    assert sent > 10
    for i in range(sent):
        assert server.recv(timeout=5) == b"%05000d" % i
    client.send(b"room again", timeout=5)
    assert server.recv(timeout=5) == b"room again"


@in_python
@pytest.mark.parametrize("encrypt", ["require", "off"])
def test_what_lies_in_memory_is_sealed(daemon, can_map, name, encrypt):
    write_text(name.file("security", "encrypt"), encrypt)
    client, server = pair(name)
    assert client.is_mapped and server.is_mapped
    for message in (PLAIN, PLAIN * 1000):
        client.send(message, timeout=5)
        memory = memory_of(daemon, client.id)
        assert (PLAIN in memory) == (encrypt == "off")
        assert server.recv(timeout=5) == message
    client.close()
    server.close()


@in_python
def test_nothing_goes_through_a_pool(can_map, sealed):
    client, server = pair(sealed)
    client.send(b"x", timeout=5)
    assert server.recv(timeout=5) == b"x"
    assert client.shared_pool == 0
    client.close()
    server.close()


# --- the key ---------------------------------------------------------------------------------------

def test_the_key_is_the_owners(daemon, sealed):
    client, _server = sealed.pair()
    found = os.stat(folder(daemon, client, "key"))
    assert stat.S_IMODE(found.st_mode) == 0o400 and found.st_uid == 0
    with raises_errno(errno.EPERM):  # the end is in file mode
        read_key(daemon, client)


def test_there_is_none_of_a_plain_flow(daemon, can_map, name):
    client, _server = name.pair()
    end = MappedEnd(daemon, client)
    with raises_errno(errno.ENOKEY):
        read_key(daemon, client)
    assert end.at["overhead_bytes"] == 0
    end.close()


def test_it_is_given_once(daemon, can_map, sealed):
    client, server = sealed.pair()
    end = MappedEnd(daemon, client)
    assert end.at["overhead_bytes"] == 28
    file = track(os.open(folder(daemon, client, "key"), os.O_RDONLY))
    assert len(os.read(file, 4096)) == KEY_BYTES
    assert os.read(file, 4096) == b""
    with raises_errno(errno.ENOKEY):
        os.pread(file, 4096, 0)
    with raises_errno(errno.ENOKEY):
        read_key(daemon, client)
    with raises_errno(errno.EPERM):
        read_key(daemon, server)
    end.close()


def test_root_gets_no_key_of_others(daemon, can_map, open_name):
    write_text(open_name.file("security", "encrypt"), "require")
    serving = open_name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    os.seteuid(ALICE)
    try:
        client = open_name.open_dial()
    finally:
        os.seteuid(0)
    end = MappedEnd(daemon, client)
    path = folder(daemon, client, "key")
    with raises_errno(errno.EPERM):
        read_key_file(path)
    assert len(as_user(ALICE, read_key_file, path)) == KEY_BYTES
    end.close()
    close(serving)


def assert_goes_on_as_a_file(one, other):
    """Once the daemon has heard that `one` is no longer mapped."""
    def written():
        try:
            return os.write(one, b"as a file")
        except OSError as error:
            assert error.errno == errno.EBUSY
            return 0
    wait_for(written, "the end to be a file again")
    assert os.read(other, 100) == b"as a file"
    os.write(other, b"back")
    assert os.read(one, 100) == b"back"


def test_an_end_that_is_no_longer_mapped_goes_on_as_a_file(daemon, can_map, sealed):
    client, server = sealed.pair()
    for _ in range(3):
        end = MappedEnd(daemon, client)
        keys = read_key(daemon, client)
        assert len(keys) == KEY_BYTES
        end.close()
        assert_goes_on_as_a_file(client, server)


def killed_program(daemon, fd):
    """Attaches the end, takes its key, and is killed."""
    readable, writable = os.pipe()

    def program():
        _end = MappedEnd(daemon, fd)
        os.write(writable, b"%d" % len(read_key(daemon, fd)))
        signal.pause()
    child = Child(program, keep=(fd, writable))
    os.close(writable)
    assert os.read(readable, 10) == b"%d" % KEY_BYTES
    os.close(readable)
    child.kill()
    child.reap()


def test_an_end_whose_program_is_killed_goes_on_as_a_file(daemon, can_map, sealed):
    """Its descriptor is somebody else's as well. The keys that were lost with it are never missed."""
    client, server = sealed.pair()
    for fd, other in ((client, server), (server, client), (client, server)):
        killed_program(daemon, fd)
        assert_goes_on_as_a_file(fd, other)


@in_python
@pytest.mark.parametrize("mode", [0, FILE])
def test_what_was_sealed_before_its_sender_was_killed_arrives(daemon, can_map, sealed, mode):
    import flowfs  # pylint: disable=import-outside-toplevel
    server = flowfs.accept(sealed.name, daemon.mount, mode, timeout=0)

    def message(number):
        return b"%d " % number * (1 + number % 2000)

    def send():
        client = flowfs.dial(sealed.name, daemon.mount, timeout=10)
        number = 0
        while True:
            client.send(message(number), timeout=10)
            number += 1
    child = Child(send)
    for number in range(500):
        assert server.recv(timeout=10) == message(number)
    child.kill()
    last = 500
    while got := server.recv(timeout=10):
        assert got == message(last)
        last += 1
    child.reap()
    server.close()


# --- those who lie ---------------------------------------------------------------------------------

def test_what_was_not_sealed_is_dropped_before_a_file(daemon, can_map, sealed):
    client, server = sealed.pair()
    end = MappedEnd(daemon, client)
    for garbage in (PLAIN, b"short", bytes(500)):
        end.send(garbage)
    set_nonblock(server)

    def dropped():
        with raises_errno(errno.EAGAIN):
            os.read(server, 100)
        return values(daemon, client, "stats")["drops"] == "3"
    wait_for(dropped, "three drops")
    os.write(server, b"unharmed")
    assert len(end.receive()) == len(b"unharmed") + 28
    end.close()


@in_python
def test_and_before_a_program(daemon, can_map, sealed):
    import flowfs  # pylint: disable=import-outside-toplevel
    server = flowfs.accept(sealed.name, daemon.mount, timeout=0)
    client = sealed.open_dial()
    with raises_errno(errno.EAGAIN):
        server.recv(timeout=0)
    assert server.is_mapped
    end = MappedEnd(daemon, client)
    server.send(b"to be reflected", timeout=5)
    reflected = end.receive()
    for garbage in (PLAIN, b"short", reflected, reflected):
        end.send(garbage)
    with raises_errno(errno.EAGAIN):
        server.recv(timeout=0)
    assert values(daemon, client, "stats")["drops"] == "4"
    end.close()
    server.close()


def test_another_flow_does_not_notice(daemon, can_map, sealed):
    client, server = sealed.pair()
    neighbours = Name(daemon, sealed.name).pair()
    end = MappedEnd(daemon, client)
    end.tx[4096:8192] = b"A" * 4096
    set_nonblock(server)
    with raises_errno(errno.EPROTO):
        os.read(server, 100)
    os.write(neighbours[0], PLAIN)
    assert os.read(neighbours[1], 100) == PLAIN
    end.close()


def test_the_key_is_not_in_what_the_daemon_logs_or_counts(daemon, can_map, sealed):
    client, _server = sealed.pair()
    end = MappedEnd(daemon, client)
    secret = read_key(daemon, client)[32:64]
    assert secret.hex() not in daemon.log() + read_text(daemon.path("metrics"))
    end.close()


@in_python
def test_memory_that_is_handed_out_is_sealed_as_well(fresh_daemon):
    server = fresh_daemon("[daemon]\npassthrough = false\n").start()
    name = Name(server, "log")
    os.mkdir(name.path)
    write_text(name.file("security", "encrypt"), "require")
    client, serving = pair(name)
    assert client.is_mapped and serving.is_mapped
    client.send(PLAIN, timeout=5)
    assert serving.recv(timeout=5) == PLAIN
    assert read_values(server.path("flows", str(client.id), "peer"))["cipher"] == "aes-256-gcm"
    client.close()
    serving.close()
    server.stop()
