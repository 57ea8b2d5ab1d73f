# SPDX-License-Identifier: BSD-3-Clause
"""Mapped ends that stop, or that write nonsense: what others notice of it."""

import errno
import os
import random
import signal

import lib
import pytest
from harness import close, is_sanitized
from lib import can_map, in_python, seeds  # pylint: disable=unused-import
from mapped import MappedEnd
from procs import Child

ALICE, BOB = 61001, 61002


def number(index):
    return index.to_bytes(8, "little")


@in_python
@pytest.mark.parametrize("size", [8, 3000, 60_000], ids=["inline", "bulk", "large"])
def test_a_stopped_reader_holds_up_its_sender_and_nobody_else(can_map, open_name, size):
    """Trial 4: the sender waits, nothing is lost, and another flow of the name goes on."""
    mount, total = open_name.daemon.mount, 20_000 if size < 1000 else 1500

    def read_all():
        flow = lib.flowfs.dial(open_name.name, mount, timeout=10)
        for expected in range(total):
            assert flow.recv(timeout=60)[:8] == number(expected)
        flow.send(b"all")

    accepting = lib.flowfs.accept(open_name.name, mount, timeout=0)
    reader = Child(read_all, uid=ALICE)
    while True:
        try:
            accepting.send(number(0) + bytes(size - 8), timeout=0.02)
            break
        except (TimeoutError, BlockingIOError):
            pass  # no peer yet
    reader.kill(signal.SIGSTOP)
    sent = 1
    with pytest.raises(BlockingIOError):
        while True:
            accepting.send(number(sent) + bytes(size - 8), timeout=0)
            sent += 1
    assert sent < total, "a stopped reader cannot have read everything"

    client, server = lib.pair(open_name)
    for index in range(1000):
        client.send(number(index), timeout=10)
        assert server.recv(timeout=10) == number(index)
    client.close()
    server.close()

    with pytest.raises(BlockingIOError):
        accepting.send(number(sent) + bytes(size - 8), timeout=0)
    reader.kill(signal.SIGCONT)
    for index in range(sent, total):
        accepting.send(number(index) + bytes(size - 8), timeout=60)
    assert accepting.recv(timeout=60) == b"all"
    reader.result()
    accepting.close()


def scribble(end, choose):
    """Random bytes over a segment: all of it, a page of it, or a few words."""
    where = choose.choice([(0, len(end.tx)), (0, 4096), (128, 640), (4096, 4096 + 256)])
    if choose.random() < 0.5:
        end.tx[where[0]:where[1]] = choose.randbytes(where[1] - where[0])
    else:
        for _ in range(choose.randrange(1, 8)):
            at = choose.randrange(where[0], where[1] - 8)
            end.tx[at:at + 8] = choose.randbytes(8)
    end.ring()


def use_up(fd):
    """Reads and writes until there is nothing more to do; only what the contract allows may come."""
    for call in (lambda: os.read(fd, 1 << 20), lambda: os.write(fd, b"x" * 100)):
        for _ in range(2000):
            try:
                if call() == b"":
                    break
            except BlockingIOError:
                break
            except OSError as error:
                assert error.errno in (errno.EPROTO, errno.EPIPE), error
                break


def test_random_bytes_over_segments_spoil_their_own_flows_alone(daemon, name, can_map):
    """Trial 5, for the segment of a flow."""
    choose = random.Random(next(seeds))
    good = name.pair()
    rounds = 60 if is_sanitized() else 250
    for index in range(rounds):
        client, server = name.pair(nonblock=True)
        end = MappedEnd(daemon, client)
        for _ in range(choose.randrange(3)):
            end.send(b"true")
        scribble(end, choose)
        use_up(server)
        end.close()
        use_up(server)
        close(client, server)
        os.write(good[0], number(index))
        assert os.read(good[1], 100) == number(index)
    daemon.wait_states(allocated=2)
