# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs: many handles waited on together."""

import errno
import os
import random
import threading

import pytest
from harness import is_sanitized
from lib import FILE, can_map, in_python, pair, seeds  # pylint: disable=unused-import
from procs import wait_for
from sysc import raises_errno

if not is_sanitized():
    import flowfs
    IN, OUT = flowfs.POLLIN, flowfs.POLLOUT

pytestmark = in_python


@pytest.fixture
def flows(can_map, name):
    """Makes pairs of ends, and closes them."""
    made = []

    def make(count, client=0, server=0):
        pairs = [pair(name, client, server) for _ in range(count)]
        made.extend(end for both in pairs for end in both)
        return pairs
    yield make
    for end in made:
        end.close()


def members(waiting, pairs, events=None):
    for _, server in pairs:
        waiting.add(server, events or IN)


# Every mapped end has one word to sleep on; more than 128 go through descriptors, as does a set with
# an end in file mode.
SETS = [(3, 0), (130, 0), (3, FILE)]


@pytest.fixture(params=SETS, ids=["mapped", "many", "file"])
def pairs(request, flows):
    count, mode = request.param
    return flows(count, 0, mode)


def test_it_tells_who_is_ready(pairs):
    with flowfs.Set() as waiting:
        members(waiting, pairs)
        with raises_errno(errno.EAGAIN):
            waiting.wait(timeout=0)
        with raises_errno(errno.ETIMEDOUT):
            waiting.wait(timeout=0.05)
        for client, server in pairs[::-1][:3]:
            client.send(b"one", timeout=5)
            assert waiting.wait(timeout=10) == [(server, IN)]
            assert server.recv(0) == b"one"
            with raises_errno(errno.EAGAIN):
                waiting.wait(timeout=0)
        for client, _ in pairs[:3]:
            client.send(b"all", timeout=5)
        assert {flow.id for flow, _ in waiting.wait(timeout=5)} <= {s.id for _, s in pairs[:3]}
        for _, server in pairs[:3]:
            assert server.recv(5) == b"all"


def test_it_wakes_who_waits(pairs):
    with flowfs.Set() as waiting:
        members(waiting, pairs)
        for number in range(30):
            client, server = pairs[number % len(pairs)]
            sender = threading.Thread(target=lambda to=client: to.send(b"wake", timeout=5))
            sender.start()
            assert waiting.wait(timeout=20) == [(server, IN)]
            assert server.recv(0) == b"wake"
            sender.join()


def test_the_end_of_a_flow_makes_it_ready(pairs):
    client, server = pairs[1]
    with flowfs.Set() as waiting:
        members(waiting, pairs)
        closing = threading.Thread(target=client.close)
        closing.start()
        assert [flow for flow, _ in waiting.wait(timeout=20)] == [server]
        closing.join()
        assert server.recv(5) == b""
        waiting.remove(server)
        with raises_errno(errno.EAGAIN):
            waiting.wait(timeout=0)


def test_python_takes_what_is_closed_out_of_its_sets(pairs):
    client, server = pairs[0]
    with flowfs.Set() as waiting:
        members(waiting, pairs)
        server.close()
        with raises_errno(errno.EAGAIN):
            waiting.wait(timeout=0)
        pairs[1][0].send(b"of another", timeout=5)
        assert waiting.wait(timeout=10) == [(pairs[1][1], IN)]
        waiting.close()
        pairs[1][1].close()
    client.close()


def test_it_tells_of_room(pairs):
    client, server = pairs[0]
    sent = 0
    with raises_errno(errno.EAGAIN):
        while True:
            server.send(bytes(3000), timeout=0)
            sent += 1
    with flowfs.Set() as waiting:
        members(waiting, pairs)
        waiting.remove(server)
        waiting.add(server, IN | OUT)
        with raises_errno(errno.EAGAIN):
            waiting.wait(timeout=0)
        reading = threading.Thread(target=lambda: [client.recv(5) for _ in range(sent)])
        reading.start()
        assert waiting.wait(timeout=20) == [(server, OUT)]
        reading.join()
        # the reader tells of the rest when it finds nothing more
        with raises_errno(errno.EAGAIN):
            client.recv(0)
        server.send(bytes(3000), timeout=5)


def test_a_shutdown_by_another_thread_wakes_it(pairs):
    client, _ = pairs[0]
    with raises_errno(errno.EAGAIN):
        while True:
            client.send(bytes(3000), timeout=0)
    for events, how in ((OUT, flowfs.SHUT_WR), (IN, flowfs.SHUT_RD)):
        with flowfs.Set() as waiting:
            waiting.add(client, events)
            ending = threading.Timer(0.05, client.shutdown, [how])
            ending.start()
            assert waiting.wait(timeout=20) == [(client, events)]
            ending.join()
    with raises_errno(errno.EPIPE):
        client.send(b"more", timeout=0)
    assert client.recv(timeout=0) == b""


def test_no_more_than_asked_for_and_everyone_in_turn(pairs):
    with flowfs.Set() as waiting:
        members(waiting, pairs)
        for client, _ in pairs[:3]:
            client.send(b"x", timeout=5)
        told = []
        wait_for(lambda: told.extend(f.id for f, _ in waiting.wait(timeout=5, most=1))
                 or len(set(told)) == 3, "each of the three once")


def test_what_cannot_be_added(flows):
    (client, server), = flows(1)
    with raises_errno(errno.EINVAL):
        flowfs.Set(flags=1)
    with flowfs.Set() as waiting:
        waiting.add(server)
        with raises_errno(errno.EEXIST):
            waiting.add(server)
        with raises_errno(errno.ENOENT):
            waiting.remove(client)
        for events in (0, 2, IN | 8):
            with raises_errno(errno.EINVAL):
                waiting.add(client, events)
        with raises_errno(errno.EINVAL):
            waiting.wait(most=0, timeout=0)


def test_a_pending_end_becomes_ready(can_map, name):
    mount = name.daemon.mount
    serving = flowfs.accept(name.name, mount, timeout=0)
    with flowfs.Set() as waiting:
        waiting.add(serving)
        with raises_errno(errno.EAGAIN):
            waiting.wait(timeout=0)
        client = flowfs.dial(name.name, mount, timeout=10)
        client.send(b"hello", timeout=5)
        # perhaps told once that it is up, before it is told of the message
        wait_for(lambda: waiting.wait(timeout=10) and serving.is_mapped, "the end to be up")
        assert waiting.wait(timeout=10) == [(serving, IN)]
        assert serving.recv(0) == b"hello"
        waiting.remove(serving)
    client.close()
    serving.close()


@pytest.mark.deadline(120)
def test_a_server_of_many_loses_nothing(pairs):
    """Every client keeps one request under way; the server answers whoever the set says."""
    choose = random.Random(next(seeds))
    rounds = 20 if len(pairs) > 100 else 2000
    plan = [[choose.randrange(1, 6000) for _ in range(rounds)] for _ in pairs]
    stop = threading.Event()
    failures = []

    def serve():
        try:
            with flowfs.Set() as waiting:
                members(waiting, pairs)
                while not stop.is_set():
                    try:
                        ready = waiting.wait(timeout=0.2)
                    except TimeoutError:
                        continue
                    for flow, _ in ready:
                        try:
                            message = flow.recv(0)
                        except BlockingIOError:
                            continue
                        flow.send(message, timeout=20)
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)
    server = threading.Thread(target=serve)
    server.start()
    try:
        for number in range(rounds):
            for place, (client, _) in enumerate(pairs):
                client.send(bytes([number % 256]) * plan[place][number], timeout=20)
            for place, (client, _) in enumerate(pairs):
                assert client.recv(20) == bytes([number % 256]) * plan[place][number]
    finally:
        stop.set()
        server.join()
    assert not failures


def test_mapped_ends_are_waited_for_without_descriptors(flows):
    with flowfs.Set() as waiting:
        members(waiting, flows(10))
        before = len(os.listdir("/proc/self/fd"))
        with raises_errno(errno.ETIMEDOUT):
            waiting.wait(timeout=0.02)
        assert len(os.listdir("/proc/self/fd")) == before
