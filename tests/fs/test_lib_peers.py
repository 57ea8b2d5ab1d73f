# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs: opening, peers that know only files, other users, forks, and peers that are killed."""

import errno
import os
import random
import signal
import subprocess
import threading

import pytest
from fixtures import long_run
from harness import close, is_sanitized, read_text
from lib import MODES, can_map, in_python, pair, seeds  # pylint: disable=unused-import
from procs import Child, wait_for
from sysc import raises_errno

if not is_sanitized():
    import flowfs

ALICE, BOB = 61001, 61002


class Waiting:
    """What a call in another thread returns."""

    def __init__(self, call):
        self._returned = []
        self._thread = threading.Thread(target=lambda: self._returned.append(call()))
        self._thread.start()

    def result(self):
        self._thread.join(30)
        assert self._returned, "the call has not returned, or failed"
        return self._returned[0]


def file_pair(name, flags=0):
    """A handle and, at the other end, a plain descriptor."""
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    return flowfs.dial(name.name, name.daemon.mount, flags, timeout=10), server


# --- opening ------------------------------------------------------------------------------------

@in_python
def test_errors_of_opening(daemon, name):
    for wrong in ("", ".", "..", "a/b"):
        with raises_errno(errno.EINVAL):
            flowfs.dial(wrong, daemon.mount)
    for opening in (flowfs.dial, flowfs.accept, flowfs.join):
        with pytest.raises(ValueError):
            opening(f"{name.name}\0x", daemon.mount)
    with raises_errno(errno.EINVAL):
        flowfs.dial(name.name, daemon.mount, flags=1024)
    with raises_errno(errno.ENOENT):
        flowfs.dial("nobody", daemon.mount)
    with raises_errno(errno.EACCES):
        Child(flowfs.dial, name.name, daemon.mount, uid=ALICE).result()
    for opening in (flowfs.dial, flowfs.accept):
        with raises_errno(errno.ETIMEDOUT):
            opening(name.name, daemon.mount, timeout=0.05)
    name.set("dial_timeout", 0)
    with raises_errno(errno.ECONNREFUSED):
        flowfs.dial(name.name, daemon.mount)


@in_python
def test_a_full_backlog_is_waited_for(daemon, name):
    name.set("backlog", 1)
    first = flowfs.dial(name.name, daemon.mount, timeout=0)
    with raises_errno(errno.EAGAIN):
        flowfs.dial(name.name, daemon.mount, timeout=0)
    with raises_errno(errno.ETIMEDOUT):
        flowfs.dial(name.name, daemon.mount, timeout=0.05)
    dialled = Child(lambda: flowfs.dial(name.name, daemon.mount, timeout=10).recv(10))
    with flowfs.accept(name.name, daemon.mount, timeout=5), \
            flowfs.accept(name.name, daemon.mount, timeout=5) as second:
        second.send(b"welcome", timeout=5)
        assert dialled.result() == b"welcome"
    first.close()


@in_python
def test_a_pending_dial_says_why_it_failed(daemon, name):
    name.set("dial_timeout", 50_000)
    flow = flowfs.dial(name.name, daemon.mount, timeout=0)
    with raises_errno(errno.EAGAIN):
        flow.send(b"x", timeout=0)
    with raises_errno(errno.ETIMEDOUT):
        flow.send(b"x", timeout=5)
    flow.close()


# --- with programs that know only files ----------------------------------------------------------

@in_python
def test_a_shell_at_the_other_end(can_map, name):
    shell = subprocess.Popen(["bash", "-c", "exec 3<>$0/accept; read -r line <&3; echo got $line >&3",
                              name.path])
    with flowfs.dial(name.name, name.daemon.mount, timeout=10) as flow:
        assert flow.is_mapped
        flow.send(b"hello\n")
        assert flow.recv(5) == b"got hello\n"
        assert flow.recv(5) == b""
    assert shell.wait(10) == 0


@in_python
def test_the_peer_comes_and_goes_as_a_mapped_end(can_map, daemon, name):
    from mapped import MappedEnd  # pylint: disable=import-outside-toplevel
    flow, server = file_pair(name)
    for number in range(5):
        os.write(server, b"file %d" % number)
        peer = MappedEnd(daemon, server)
        peer.send(b"mapped %d" % number)
        flow.send(b"to mapped %d" % number, timeout=5)
        assert peer.receive() == b"to mapped %d" % number
        flow.send(b"unread %d" % number, timeout=5)
        peer.close()
        os.write(server, b"file again %d" % number)
        assert [flow.recv(5) for _ in range(3)] == [
            b"file %d" % number, b"mapped %d" % number, b"file again %d" % number]
        assert os.read(server, 100) == b"unread %d" % number
        flow.send(b"to file %d" % number, timeout=5)
        assert os.read(server, 100) == b"to file %d" % number
    close(server)
    assert flow.recv(5) == b""
    flow.close()


@in_python
def test_a_lying_peer_ends_in_eproto(can_map, daemon, name):
    from mapped import MappedEnd  # pylint: disable=import-outside-toplevel
    flow, server = file_pair(name)
    peer = MappedEnd(daemon, server)
    peer.send(b"true")
    assert flow.recv(5) == b"true"
    place = peer.at["hot_offset"] + peer.at["write_hot"] % peer.at["hot_bytes"]
    peer.tx[place:place + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    for _ in range(2):
        with raises_errno(errno.EPROTO):
            flow.recv(5)
    peer.close()
    flow.close()


@in_python
def test_it_falls_back_where_nothing_can_be_mapped(fresh_daemon):
    server = fresh_daemon("[limits]\nbytes = 200000\n").start()
    path = server.path("names", "small")
    os.mkdir(path)
    os.chmod(path, 0o777)
    for file in ("dial", "accept"):
        os.chmod(os.path.join(path, file), 0o666)

    def talk():
        answer = flowfs.accept("small", server.mount, timeout=0)
        flow = flowfs.dial("small", server.mount, timeout=10)
        flow.send(b"through the file")
        return answer.recv(timeout=5), flow.is_mapped, answer.is_mapped
    assert Child(talk, uid=ALICE).result() == (b"through the file", False, False)
    server.stop()


@in_python
def test_it_goes_through_the_daemon_where_the_name_asks_for_it(can_map, name):
    name.set("direct", 0)
    client, server = pair(name)
    assert not client.is_mapped and not server.is_mapped and not client.shared_pool
    for length in (1, 50_000):
        with client.loan(length, timeout=5) as loan:
            loan.data[:] = bytes(length)
            loan.commit(timeout=5)
        assert server.recv(5) == bytes(length)
    client.close()
    server.close()


# --- when the daemon has gone --------------------------------------------------------------------

@pytest.fixture
def mapping_daemon(fresh_daemon):
    server = fresh_daemon().start()
    if "passthrough yes" not in read_text(server.path("version")):
        pytest.skip("this kernel does not map through the mount (no FUSE passthrough)")
    return server


def make_name(server):
    made = server.name("n")
    os.mkdir(made.path)
    return made


@in_python
def test_a_mapped_flow_ends_without_the_daemon(mapping_daemon):
    open_name = make_name(mapping_daemon)
    (closed, listener), (half, answerer) = pair(open_name), pair(open_name)
    mapping_daemon.kill()
    closed.send(b"rest", timeout=5)
    waiting = Waiting(lambda: [listener.recv(20), listener.recv(20)])
    closed.close()
    assert waiting.result() == [b"rest", b""]
    with raises_errno(errno.EPIPE):
        listener.send(b"nobody", timeout=5)
    half.send(b"question", timeout=5)
    half.shutdown(flowfs.SHUT_WR)
    assert (answerer.recv(5), answerer.recv(5)) == (b"question", b"")
    answerer.send(b"answer", timeout=5)
    assert half.recv(5) == b"answer"
    with raises_errno(errno.EPIPE):
        half.send(b"more", timeout=0)
    for end in (listener, half, answerer):
        end.close()


@in_python
def test_an_old_handle_does_not_reach_a_flow_of_the_next_daemon(mapping_daemon):
    open_name = make_name(mapping_daemon)
    old = [*pair(open_name), flowfs.accept(open_name.name, mapping_daemon.mount, timeout=0)]
    mapping_daemon.kill()
    mapping_daemon.start()
    new = pair(make_name(mapping_daemon))
    new += pair(open_name)
    assert {end.id for end in old} & {end.id for end in new}, "the numbers begin anew"
    for call in (lambda: old[0].state, lambda: old[0].peer, lambda: old[1].shutdown(flowfs.SHUT_RD),
                 lambda: old[2].recv(timeout=0)):
        with raises_errno(errno.ENOTCONN, errno.ECONNABORTED):
            call()
    for end in old:
        end.close()
    for client, server in (new[:2], new[2:]):
        client.send(b"undisturbed", timeout=5)
        assert server.recv(5) == b"undisturbed"
        assert client.is_mapped and server.is_mapped
        client.close()
        server.close()
    mapping_daemon.stop()


# --- processes ----------------------------------------------------------------------------------

@in_python
def test_two_users_talk(can_map, open_name):
    mount = open_name.daemon.mount

    def serve():
        with flowfs.accept(open_name.name, mount, timeout=10) as flow:
            flow.send(flow.recv(10).upper())
            return flow.is_mapped, flow.peer.uid, flow.recv(10)

    def dial():
        with flowfs.dial(open_name.name, mount, timeout=10) as flow:
            flow.send(b"shout")
            return flow.is_mapped, flow.peer.uid, flow.recv(10)
    server, client = Child(serve, uid=ALICE), Child(dial, uid=BOB)
    assert client.result() == (True, ALICE, b"SHOUT")
    assert server.result() == (True, BOB, b"")


@in_python
@pytest.mark.parametrize("modes", MODES[:1] + MODES[3:], ids=["mapped", "file"])
def test_a_forked_child_lets_go(can_map, daemon, name, modes):
    client, server = pair(name, *modes)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        seen = []
        for call in (lambda: client.send(b"x"), client.recv, client.fileno, lambda: client.state):
            try:
                call()
                seen.append(0)
            except OSError as error:
                seen.append(error.errno)
        os.write(writable, b"%r" % seen)
        signal.pause()
    try:
        assert eval(os.read(readable, 100)) == [errno.EBADF] * 4  # pylint: disable=eval-used
        client.send(b"still ours", timeout=5)
        assert server.recv(5) == b"still ours"
        client.close()
        assert server.recv(5) == b""
        server.close()
        wait_for(lambda: daemon.flow_states() == {}, "no flow left")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(readable)
        os.close(writable)


@in_python
@pytest.mark.deadline(3600 if long_run() else 300)
def test_killed_at_any_moment_nothing_is_left(can_map, daemon, open_name):
    kills = 10000 if long_run() else 200
    mount = daemon.mount
    choose = random.Random(next(seeds))

    def victim(opening):
        flow = opening(open_name.name, mount, timeout=10)
        while True:
            flow.send(bytes(choose.choice([10, 3000, 100_000])))
            flow.recv()

    def round_trips(flow):
        """Echoes until the other end has gone."""
        echoed = 0
        try:
            while message := flow.recv(timeout=20):
                flow.send(message, timeout=20)
                echoed += 1
        except OSError as error:
            assert error.errno == errno.EPIPE
        return echoed

    baseline = memory = None
    echoed = 0
    for number in range(kills):
        ours, theirs = choose.choice([(flowfs.accept, flowfs.dial), (flowfs.dial, flowfs.accept)])
        child = Child(victim, theirs, uid=ALICE)
        killer = threading.Timer(choose.uniform(0.0, 0.02), child.kill)
        killer.start()
        try:
            flow = ours(open_name.name, mount, timeout=0.5)
        except TimeoutError:
            flow = None  # killed before it came
        if flow:
            echoed += round_trips(flow)
            flow.close()
        killer.join()
        child.reap()
        if number == 10:
            wait_for(lambda: daemon.flow_states() == {}, "no flow left")
            baseline, memory = daemon.descriptors(), daemon.memory_kib()
    assert echoed > kills
    wait_for(lambda: daemon.flow_states() == {}, "no flow left")
    held = ("flows", "bytes", "descriptors", "held")
    wait_for(lambda: all(daemon.usage(ALICE)[what].split()[0] == "0" for what in held),
             "nothing charged any more")
    daemon.wait_descriptors(baseline)
    assert daemon.memory_kib() <= memory + 2048
