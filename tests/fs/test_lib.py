# SPDX-License-Identifier: BSD-3-Clause
"""The calls of libflowfs, with each end in either mode."""

import ctypes
import errno
import os
import select
import threading
import time

import pytest
from harness import is_sanitized
from lib import can_map, flow  # pylint: disable=unused-import
from procs import wait_for
from sysc import raises_errno

if not is_sanitized():
    import flowfs


# --- one call at a time --------------------------------------------------------------------------

def test_what_was_sent_comes_before_the_end(flow):
    client, server = flow
    for message in (b"one", b"two", bytes(900_000)):
        client.send(message, timeout=5)
    client.close()
    assert [server.recv(5), server.recv(5), server.recv(5)] == [b"one", b"two", bytes(900_000)]
    assert server.recv(5) == b"" and server.recv(5) == b""
    with raises_errno(errno.EPIPE):
        server.send(b"nobody listens", timeout=5)


def test_a_buffer_too_short_keeps_the_message(flow):
    client, server = flow
    client.send(b"0123456789")
    with raises_errno(errno.EMSGSIZE):
        server.recv_into(bytearray(9), timeout=5)
    assert server.recv(5) == b"0123456789"


def test_lengths_that_cannot_be_sent(flow):
    with raises_errno(errno.EINVAL):
        flow[0].send(b"")
    with raises_errno(errno.EMSGSIZE):
        flow[0].send(bytes(917505))
    with raises_errno(errno.EINVAL):
        flow[0].recv_into(bytearray(0), timeout=0)


def test_a_message_beyond_all_memory_is_longer_than_any_mtu(flow):
    client = flow[0]
    buffer, call = bytearray(100), flowfs._library  # pylint: disable=protected-access
    place = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    assert call.flowfs_send(client.handle(), place, 2**64 - 1, 0) == -1
    assert ctypes.get_errno() == errno.EMSGSIZE


def test_timeouts_end_waits(flow):
    client, server = flow
    start = time.monotonic()
    with raises_errno(errno.ETIMEDOUT):
        server.recv(timeout=0.05)
    assert time.monotonic() - start >= 0.05
    with raises_errno(errno.EAGAIN):
        server.recv(timeout=0)
    sent = 0
    with raises_errno(errno.EAGAIN):
        while True:
            client.send(bytes(1000), timeout=0)
            sent += 1
    with raises_errno(errno.ETIMEDOUT):
        client.send(bytes(1000), timeout=0.05)
    assert sent > 10
    assert [len(server.recv(5)) for _ in range(sent)] == [1000] * sent
    client.send(b"room again", timeout=5)
    assert server.recv(5) == b"room again"


def test_a_waiting_receiver_gets_the_message(flow):
    client, server = flow
    for message in (b"first", b"second"):
        got = []
        thread = threading.Thread(target=lambda got=got: got.append(server.recv(10)))
        thread.start()
        client.send(message, timeout=5)
        thread.join()
        assert got == [message]


def test_shutdown_of_writing_ends_the_peers_reading_alone(flow):
    client, server = flow
    client.send(b"last")
    client.shutdown(flowfs.SHUT_WR)
    assert (server.recv(5), server.recv(5)) == (b"last", b"")
    with raises_errno(errno.EPIPE):
        client.send(b"more", timeout=0)
    server.send(b"answer")
    assert client.recv(5) == b"answer"


def test_shutdown_of_reading_ends_the_peers_writing(flow):
    client, server = flow
    client.shutdown(flowfs.SHUT_RD)
    with raises_errno(errno.EPIPE):
        server.send(b"unheard", timeout=5)
    assert client.recv(5) == b""
    client.send(b"still", timeout=5)
    assert server.recv(5) == b"still"


@pytest.mark.parametrize("waits", ["receiving", "sending"])
def test_shutdown_ends_the_wait_of_another_thread(flow, waits):
    client, _ = flow
    outcome = []

    def wait():
        try:
            while waits == "sending":
                client.send(bytes(100_000), timeout=20)
            outcome.append(client.recv(timeout=20))
        except OSError as error:
            outcome.append(error.errno)
    thread = threading.Thread(target=wait)
    thread.start()
    if waits == "sending":
        wait_for(lambda: _full(client), "no room")
    client.shutdown(flowfs.SHUT_RDWR)
    thread.join(10)
    assert outcome == [errno.EPIPE if waits == "sending" else b""]


def _full(flow):
    """Whether a send finds no room, or another thread waiting for some."""
    try:
        flow.send(b"x", timeout=0)
    except BlockingIOError:
        return True
    return False


def test_poll_says_what_the_calls_would_do(flow):
    client, server = flow
    poller = select.poll()
    poller.register(server, select.POLLIN)
    for number in range(20):
        with raises_errno(errno.EAGAIN):
            server.recv(timeout=0)
        assert poller.poll(0) == []
        message = b"%d" % number
        waiting = threading.Thread(target=lambda: client.send(message, timeout=5))
        waiting.start()
        assert poller.poll(5000) == [(server.fileno(), select.POLLIN)]
        waiting.join()
        assert server.recv(timeout=0) == message
    client.close()
    assert poller.poll(5000)[0][1] & select.POLLIN
    assert server.recv(timeout=0) == b""


def test_poll_hears_of_room(flow):
    client, server = flow
    poller = select.poll()
    poller.register(client, select.POLLOUT)
    assert poller.poll(5000) == [(client.fileno(), select.POLLOUT)]
    sent = 0
    with raises_errno(errno.EAGAIN):
        while True:
            client.send(bytes(3000), timeout=0)
            sent += 1
    assert poller.poll(0) == []
    for _ in range(sent):
        server.recv(5)
    with raises_errno(errno.EAGAIN):
        server.recv(0)
    assert poller.poll(5000) == [(client.fileno(), select.POLLOUT)]
    client.send(b"again", timeout=0)


def test_what_it_says_of_itself_and_its_peer(flow, request):
    client, server = flow
    assert (client.is_mapped, server.is_mapped) == tuple(
        mode == "mapped" for mode in request.node.callspec.id.split("-"))
    assert client.state == server.state == "allocated"
    assert client.peer == (server.id, 0, 0, os.getpid()) and server.peer.flow == client.id
    server.close()
    wait_for(lambda: client.state != "allocated", "the peer's end to show")
