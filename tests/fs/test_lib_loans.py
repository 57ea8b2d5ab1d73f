# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs: messages in pieces, in batches, written and read where they lie."""

import errno
import itertools
import os
import pickle
import signal
import threading

import pytest
from harness import close, is_sanitized, set_nonblock
from lib import MODES, can_map, flow, in_python, pair  # pylint: disable=unused-import
from procs import Child, wait_for
from sysc import raises_errno

if not is_sanitized():
    import flowfs

ALICE = 61001
LENGTHS = [1, 300, 3568, 3569, 70_000, 900_000]


def pattern(number, length):
    return bytes((number + at * 7) % 256 for at in range(min(length, 512))) * (length // 512 + 1)


def message_of(number, length):
    return pattern(number, length)[:length]


# --- pieces and batches --------------------------------------------------------------------------

def test_a_message_in_pieces_arrives_as_one(flow):
    client, server = flow
    client.sendv([b"one", b"", bytearray(b" and "), memoryview(b"two")], timeout=5)
    assert server.recv(5) == b"one and two"
    client.sendv([bytes(1000)] * 600, timeout=5)
    assert server.recv(5) == bytes(600_000)


def test_a_message_is_received_in_pieces(flow):
    client, server = flow
    client.send(b"0123456789", timeout=5)
    first, empty, last = bytearray(4), bytearray(0), bytearray(50_000)
    with raises_errno(errno.EMSGSIZE):
        server.recvv_into([first, bytearray(5)], timeout=5)
    assert server.recvv_into([first, empty, last], timeout=5) == 10
    assert (bytes(first), bytes(last[:6])) == (b"0123", b"456789")
    client.close()
    assert server.recvv_into([first, last], timeout=5) == 0


def test_pieces_that_cannot_be(flow):
    client, server = flow
    for pieces in ([], [b""]):
        with raises_errno(errno.EINVAL):
            client.sendv(pieces, timeout=0)
        with raises_errno(errno.EINVAL):
            server.recvv_into([bytearray(piece) for piece in pieces], timeout=0)
    with raises_errno(errno.EMSGSIZE):
        client.sendv([bytes(500_000), bytes(500_000)], timeout=0)


def test_a_batch_arrives_in_order(flow):
    client, server = flow
    messages = [message_of(number, 1 + number % 50) for number in range(200)]
    feeding = threading.Thread(target=_send_all, args=(client, messages))
    feeding.start()
    received = []
    while len(received) < len(messages):
        received += server.recv_many(64, 100, timeout=5)
    feeding.join()
    assert received == messages
    with raises_errno(errno.EAGAIN):
        server.recv_many(64, 100, timeout=0)
    client.close()
    assert server.recv_many(64, 100, timeout=5) == []


def _send_all(client, messages):
    sent = 0
    while sent < len(messages):
        sent += client.send_many(messages[sent:sent + 70], timeout=5)


def test_a_batch_is_sent_as_far_as_there_is_room(flow):
    client, server = flow
    total = 0
    with raises_errno(errno.EAGAIN):
        while True:
            total += client.send_many([bytes(2000)] * 7, timeout=0)
    assert total > 10
    received = 0
    while received < total:
        received += len(server.recv_many(100, 2000, timeout=5))
    assert received == total


def test_a_batch_stops_in_front_of_what_cannot_be(flow):
    client, server = flow
    assert client.send_many([b"one", b"two", b"", b"four"], timeout=5) == 2
    with raises_errno(errno.EINVAL):
        client.send_many([b"", b"four"], timeout=5)
    with raises_errno(errno.EINVAL):
        client.send_many([], timeout=5)
    with raises_errno(errno.EINVAL):
        server.recv_many(0, timeout=0)
    client.send(b"longer than ten", timeout=5)
    assert server.recv_many(10, 10, timeout=5) == [b"one", b"two"]
    with raises_errno(errno.EMSGSIZE):
        server.recv_many(10, 10, timeout=5)
    assert server.recv_many(10, 100, timeout=5) == [b"longer than ten"]


# --- in place ------------------------------------------------------------------------------------

def test_what_is_written_in_place_is_read_in_place(flow):
    client, server = flow
    for number, length in enumerate(LENGTHS):
        message = message_of(number, length)
        with client.loan(length, timeout=5) as loan:
            assert len(loan) == length
            loan.data[:] = message
            with raises_errno(errno.EAGAIN):
                server.borrow(timeout=0)
            loan.commit()
        with server.borrow(timeout=5) as borrowed:
            assert borrowed.data == message and borrowed.data.readonly
    with raises_errno(errno.EAGAIN):
        server.borrow(timeout=0)
    client.close()
    assert server.borrow(timeout=5) is None


@pytest.mark.parametrize("used", [1, 3568, 3569, 49_999])
def test_a_loan_may_be_used_in_part(flow, used):
    client, server = flow
    message = message_of(3, used)
    with client.loan(50_000, timeout=5) as loan:
        loan.data[:used] = message
        loan.commit(used)
    assert server.recv(5) == message
    client.send(b"after", timeout=5)
    assert server.recv(5) == b"after"


def test_a_loan_that_is_not_committed_is_never_seen(flow):
    client, server = flow
    for length in (100, 60_000):
        with client.loan(length, timeout=5) as loan:
            loan.data[:] = bytes([255]) * length
        client.send(b"instead", timeout=5)
        assert server.recv(5) == b"instead"
    loan = client.loan(100, timeout=5)
    loan.cancel()
    with pytest.raises(ValueError):
        loan.data[0] = 1
    left = client.loan(100, timeout=5)
    left.data[:1] = b"x"
    client.close()
    assert server.recv(5) == b""


def test_loans_that_cannot_be(flow):
    client, _ = flow
    with raises_errno(errno.EINVAL):
        client.loan(0, timeout=0)
    for size in (917_505, 2**31):
        with raises_errno(errno.EMSGSIZE):
            client.loan(size, timeout=0)
    with client.loan(100, timeout=5) as loan:
        for size in (0, 101):
            with raises_errno(errno.EINVAL):
                loan.commit(size)
        loan.data[:2] = b"ok"
        loan.commit(2)
    with pytest.raises(ValueError):
        loan.data[0] = 1
    with raises_errno(errno.EINVAL):
        loan.commit(2)


def test_messages_are_borrowed_together_and_released_in_any_order(flow):
    client, server = flow
    for order in itertools.permutations(range(3)):
        messages = [message_of(number, length) for number, length in enumerate((10, 50_000, 3000))]
        for message in messages:
            client.send(message, timeout=5)
        borrowed = [server.borrow(timeout=5) for _ in messages]
        for place in order:
            assert borrowed[place].data == messages[place]
            borrowed[place].release()
            with pytest.raises(ValueError):
                len(borrowed[place].data.tobytes())
            borrowed[place].release()  # nothing more happens


def test_what_is_borrowed_stays_while_others_are_received(flow):
    client, server = flow
    client.send(b"kept", timeout=5)
    held = server.borrow(timeout=5)
    for number in range(20):
        client.send(b"%d" % number, timeout=5)
        assert server.recv(5) == b"%d" % number
    assert held.data == b"kept"
    held.release()


def test_what_is_borrowed_is_released_with_the_flow(flow):
    client, server = flow
    client.send(b"held", timeout=5)
    held = server.borrow(timeout=5)
    server.close()
    with pytest.raises(ValueError):
        held.forward(client)
    held.release()
    wait_for(lambda: client.state != "allocated", "the peer's end to show")
    with raises_errno(errno.EPIPE):
        client.send(b"nobody", timeout=5)


def test_python_does_not_reach_what_went_with_the_flow(flow):
    client, server = flow
    client.send(b"held", timeout=5)
    held, space = server.borrow(timeout=5), client.loan(100, timeout=5)
    looked_at = pickle.PickleBuffer(space.data)
    with pytest.raises(BufferError):
        client.close()
    assert client.state == "allocated" and held.data == b"held"
    looked_at.release()
    client.close()
    server.close()
    for gone in (held, space):
        with pytest.raises(ValueError):
            bytes(gone.data)


def test_a_message_is_forwarded(flow):
    client, server = flow
    for length in LENGTHS:
        message = message_of(9, length)
        client.send(message, timeout=5)
        with server.borrow(timeout=5) as borrowed:
            borrowed.forward(server, timeout=5)
            with pytest.raises(ValueError):
                len(borrowed)
        assert client.recv(5) == message
        with raises_errno(errno.EAGAIN):
            server.recv(timeout=0)


def test_a_message_that_cannot_be_forwarded_stays(flow, name):
    client, server = flow
    client.send(b"for later", timeout=5)
    borrowed = server.borrow(timeout=5)
    onward, peer = pair(name)
    peer.close()
    wait_for(lambda: onward.state != "allocated", "the peer's end to show")
    with raises_errno(errno.EPIPE):
        borrowed.forward(onward, timeout=5)
    assert borrowed.data == b"for later"
    borrowed.forward(server, timeout=5)
    assert client.recv(5) == b"for later"
    onward.close()


# --- what is lent in the flow's own memory --------------------------------------------------------

@pytest.fixture
def mapped(can_map, name):
    client, server = pair(name, flowfs.NO_POOL, flowfs.NO_POOL)
    yield client, server
    client.close()
    server.close()


@in_python
@pytest.mark.parametrize("length", [100, 917_504])
@pytest.mark.parametrize("modes", MODES, ids=lambda modes: "-".join("file" if m else "mapped" for m in modes))
def test_nothing_else_is_sent_while_a_loan_is_out(can_map, name, modes, length):
    client, server = pair(name, *(mode | flowfs.NO_POOL for mode in modes))
    client.send(b"before", timeout=5)
    borrowed = server.borrow(timeout=5)
    server.block_least(0)
    loan = client.loan(length, timeout=5)
    for call in (lambda: client.send(b"x", timeout=5), lambda: client.loan(10, timeout=5),
                 lambda: client.sendv([b"x"], timeout=5), lambda: client.send_many([b"x"], timeout=5),
                 lambda: borrowed.forward(client, timeout=5)):
        with raises_errno(errno.EBUSY):
            call()
    loan.data[:4] = b"lent"
    loan.commit(4)
    client.send(b"after", timeout=5)
    borrowed.release()
    assert [server.recv(5), server.recv(5)] == [b"lent", b"after"]
    client.close()
    server.close()


@in_python
@pytest.mark.parametrize("modes", MODES, ids=lambda modes: "-".join("file" if m else "mapped" for m in modes))
def test_no_more_than_the_mtu_is_lent(can_map, name, modes):
    name.set("mtu", 1000)
    client, server = pair(name, *modes)
    with raises_errno(errno.EMSGSIZE):
        client.loan(1001, timeout=0)
    with client.loan(1000, timeout=5) as loan:
        loan.data[:] = bytes([5]) * 1000
        loan.commit()
    assert server.recv(5) == bytes([5]) * 1000
    client.close()
    server.close()


@in_python
def test_room_comes_back_when_what_is_borrowed_is_released(mapped):
    client, server = mapped
    count = 0
    with raises_errno(errno.EAGAIN):
        while True:
            client.send(bytes([count]) * 3000, timeout=0)
            count += 1
    borrowed = [server.borrow(timeout=5) for _ in range(count)]
    with raises_errno(errno.EAGAIN):
        server.borrow(timeout=0)
    with raises_errno(errno.ETIMEDOUT):
        client.loan(3000, timeout=0.05)
    sent = []
    sender = threading.Thread(target=lambda: sent.append(client.send(b"room", timeout=20)))
    sender.start()
    for place in range(count - 1, -1, -1):
        assert borrowed[place].data == bytes([place]) * 3000
        borrowed[place].release()
    sender.join()
    assert sent == [None]
    assert server.recv(5) == b"room"


@in_python
def test_a_poll_after_a_release_hears_of_room(mapped):
    client, server = mapped
    count = 0
    with raises_errno(errno.EAGAIN):
        while True:
            client.send(bytes(3000), timeout=0)
            count += 1
    borrowed = [server.borrow(timeout=5) for _ in range(count)]
    with raises_errno(errno.EAGAIN):
        server.borrow(timeout=0)
    assert client.fileno() >= 0
    with raises_errno(errno.EAGAIN):
        client.send(bytes(3000), timeout=0)
    for message in borrowed:
        message.release()
    with flowfs.Set() as waiting:
        waiting.add(client, flowfs.POLLOUT)
        assert waiting.wait(timeout=10) == [(client, flowfs.POLLOUT)]
        waiting.remove(client)


@in_python
def test_a_former_segment_is_kept_while_it_is_borrowed_from(can_map, daemon, name):
    from mapped import MappedEnd  # pylint: disable=import-outside-toplevel
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = flowfs.dial(name.name, daemon.mount, flowfs.NO_POOL, timeout=10)
    peer = MappedEnd(daemon, server)
    peer.send(b"mapped")
    held = client.borrow(timeout=5)
    peer.close()
    os.write(server, b"as a file")
    with raises_errno(errno.EBUSY):
        client.recv(5)
    assert held.data == b"mapped"
    held.release()
    assert client.recv(5) == b"as a file"
    close(server)
    client.close()


@in_python
def test_a_loan_outlives_the_peers_change_of_mode(can_map, daemon, name):
    from mapped import MappedEnd  # pylint: disable=import-outside-toplevel
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    client = flowfs.dial(name.name, daemon.mount, flowfs.NO_POOL, timeout=10)
    peer = MappedEnd(daemon, server)
    with client.loan(5, timeout=5) as loan:
        loan.data[:] = b"still"
        peer.close()
        set_nonblock(server, False)
        loan.commit(timeout=5)
    assert os.read(server, 100) == b"still"
    close(server)
    client.close()


@in_python
@pytest.mark.parametrize("length", [100, 60_000])
def test_a_writer_killed_in_the_middle_leaves_no_message(can_map, daemon, open_name, length):
    def die():
        client = flowfs.dial(open_name.name, daemon.mount, timeout=10)
        client.send(b"whole", timeout=5)
        loan = client.loan(length, timeout=5)
        loan.data[:] = bytes([255]) * length
        os.kill(os.getpid(), signal.SIGKILL)
    child = Child(die, uid=ALICE)
    with flowfs.accept(open_name.name, daemon.mount, timeout=10) as server:
        assert server.recv(10) == b"whole"
        assert server.recv(10) == b""
    child.reap()


@in_python
@pytest.mark.parametrize("modes", MODES[:1] + MODES[3:], ids=["mapped", "file"])
def test_a_forked_child_has_nothing_lent(can_map, name, modes):
    client, server = pair(name, *modes)
    server.send(b"for the parent", timeout=5)
    loan, borrowed = client.loan(4, timeout=5), client.borrow(timeout=5)

    def use():
        seen = []
        for call in (lambda: loan.commit(4), lambda: borrowed.forward(client),
                     lambda: client.loan(1), client.borrow):
            try:
                call()
                seen.append(0)
            except OSError as error:
                seen.append(error.errno)
        return seen
    assert Child(use).result() == [errno.EBADF] * 4
    loan.data[:] = b"ours"
    loan.commit(4)
    assert (server.recv(5), bytes(borrowed.data)) == (b"ours", b"for the parent")
    client.close()
    server.close()
