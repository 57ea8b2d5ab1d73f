# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs: opening, peers that know only files, other users, forks, and peers that are killed."""

import errno
import os
import random
import signal
import subprocess
import threading
import time

import figures
import pytest
from fixtures import long_run, need_mapping
from harness import close, is_sanitized
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
    for flags in (1024, flowfs.RECEIVE_ONLY | flowfs.SEND_ONLY):
        for opening in (flowfs.dial, flowfs.accept):
            with raises_errno(errno.EINVAL):
                opening(name.name, daemon.mount, flags)
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
    name.set("dial_timeout", "max")
    with flowfs.dial(name.name, daemon.mount, timeout=0) as flow, raises_errno(errno.EAGAIN):
        flow.send(b"x", timeout=0)
    name.set("dial_timeout", 50_000)
    flow = flowfs.dial(name.name, daemon.mount, timeout=0)
    with raises_errno(errno.ETIMEDOUT):
        flow.send(b"x", timeout=5)
    flow.close()


# --- one direction ------------------------------------------------------------------------------

def send_and_tell(opening, name, flags):
    """What each direction of an end that may only send says."""
    with opening(name.name, name.daemon.mount, flags, timeout=10) as flow:
        for receive in (lambda: flow.recv(5), lambda: flow.borrow(5)):
            with raises_errno(errno.EBADF):
                receive()
        flow.send(b"one way", timeout=5)
        return flow.is_mapped


def receive_and_tell(opening, name, flags):
    with opening(name.name, name.daemon.mount, flags, timeout=10) as flow:
        for send in (lambda: flow.send(b"no", timeout=5), lambda: flow.loan(10, timeout=5)):
            with raises_errno(errno.EBADF):
                send()
        assert flow.recv(5) == b"one way"
        return flow.is_mapped


def speak_to(one_way, sends, opening, name):
    """At the other end of it: a message in its direction, and what the other one says."""
    with opening(name.name, name.daemon.mount, timeout=10) as flow:
        if sends:
            assert (flow.recv(5), flow.recv(5)) == (b"one way", b"")
        else:
            flow.send(b"one way", timeout=5)
        mapped = one_way.result()
        # What a mapped end sends does not go through the daemon, which hears of a closed file afterwards.
        wait_for(lambda: flow.state != "allocated", "the peer's end to show")
        with raises_errno(errno.EPIPE):
            flow.send(b"back", timeout=5)
        assert flow.recv(5) == b""
    return mapped


def openings(file):
    """How an end of that file is opened, and its peer."""
    return (flowfs.dial, flowfs.accept) if file == "dial" else (flowfs.accept, flowfs.dial)


@in_python
@pytest.mark.parametrize("mode", [0, 1], ids=["mapped", "file"])
@pytest.mark.parametrize("sends", [True, False], ids=["sends", "receives"])
@pytest.mark.parametrize("file", ["dial", "accept"])
def test_the_mode_of_the_file_leaves_one_direction(can_map, name, file, sends, mode):
    theirs, ours = openings(file)
    os.chmod(getattr(name, file), 0o602 if sends else 0o604)
    tell = send_and_tell if sends else receive_and_tell
    one_way = Child(tell, theirs, name, mode, uid=ALICE)
    assert speak_to(one_way, sends, ours, name) == (mode == 0)
    refused = flowfs.RECEIVE_ONLY if sends else flowfs.SEND_ONLY
    with raises_errno(errno.EACCES):
        Child(theirs, name.name, name.daemon.mount, refused, uid=ALICE).result()


@in_python
@pytest.mark.parametrize("file", ["dial", "accept"])
@pytest.mark.parametrize("sends", [True, False], ids=["sends", "receives"])
def test_an_end_is_opened_for_one_direction(can_map, name, file, sends):
    theirs, ours = openings(file)
    flag, tell = ((flowfs.SEND_ONLY, send_and_tell) if sends
                  else (flowfs.RECEIVE_ONLY, receive_and_tell))
    assert speak_to(Child(tell, theirs, name, flag), sends, ours, name)


@in_python
@pytest.mark.parametrize("flag", ["RECEIVE_ONLY", "SEND_ONLY"])
def test_one_direction_says_why_it_failed(daemon, name, flag):
    name.set("dial_timeout", 50_000)
    with raises_errno(errno.ETIMEDOUT):
        flowfs.dial(name.name, daemon.mount, getattr(flowfs, flag), timeout=5)


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
    need_mapping(server)
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


LENGTHS = (10, 3000, 100_000)


class Victim:
    """One direction of a flow for as long as it lives; from when on it may be killed, it says itself."""

    def __init__(self, role, opening, name):
        readable, writable = os.pipe()
        self.child = Child(self._live, role, opening, name, writable, uid=ALICE, keep=[writable])
        os.close(writable)
        self._ready, self._killer = readable, None

    @staticmethod
    def _live(role, opening, name, ready):
        os.write(ready, b"!")
        flow = opening(name.name, name.daemon.mount, timeout=10)
        choose = random.Random(os.getpid())
        while role == "sender" or flow.recv():
            if role == "sender":
                flow.send(bytes(choose.choice(LENGTHS)))

    def kill_after(self, moment):
        """From another thread, so many seconds after it began to open its end."""
        def kill():
            os.read(self._ready, 1)
            time.sleep(moment)
            self.child.kill()
        self._killer = threading.Thread(target=kill)
        self._killer.start()

    def end(self):
        if self._killer:
            self._killer.join()
        os.close(self._ready)
        assert os.WIFSIGNALED(self.child.reap())


def talk_to_the_end(flow, role, told):
    """The other direction's messages until the victim of that role has gone; how many. `told` hears of each."""
    messages = 0
    if role == "sender":
        while message := flow.recv(timeout=20):
            assert len(message) in LENGTHS, "a part of a message"
            messages += 1
            told(messages)
        return messages
    with raises_errno(errno.EPIPE):
        while True:
            flow.send(bytes(LENGTHS[messages % 3]), timeout=20)
            messages += 1
            told(messages)
    return messages


def memory_at_rest(daemon, name):
    """Once a crowd has come and gone: what the allocator kept is given back then.

    Twice, after which the log of events is as long as it gets.
    """
    for _ in range(2):
        for fd in [name.open_accept(os.O_RDWR | os.O_NONBLOCK) for _ in range(1100)]:
            close(fd)
        wait_for(lambda: daemon.flow_states() == {}, "no flow left")
    return daemon.memory_kib()


@in_python
@pytest.mark.parametrize("role", ["sender", "receiver"])
@pytest.mark.deadline(3600 if long_run() else 300)
def test_killed_at_any_moment_nothing_is_left(can_map, daemon, open_name, role):
    """Every second one while it is busy for certain, however slow the machine is; the others at any time."""
    kills = 10_000 if long_run() else 60
    choose = random.Random(next(seeds))
    baseline = memory = None
    counts = {"killed": 0, "clients": 0, "while opening": 0, "messages": 0}
    for number in range(kills):
        ours, theirs = choose.choice([(flowfs.accept, flowfs.dial), (flowfs.dial, flowfs.accept)])
        victim = Victim(role, theirs, open_name)
        busy, enough = number % 2, choose.randrange(5, 50)

        def told(messages, victim=victim, enough=enough if busy else None):
            if messages == enough:
                victim.child.kill()
        if not busy:
            victim.kill_after(choose.uniform(0.0, 0.01))
        try:
            with ours(open_name.name, daemon.mount, timeout=20 if busy else 0.1) as flow:
                counts["messages"] += talk_to_the_end(flow, role, told)
        except TimeoutError:
            counts["while opening"] += 1
        victim.end()
        counts["killed"] += 1
        counts["clients"] += theirs is flowfs.dial
        if number == 10:
            memory = memory_at_rest(daemon, open_name)
            baseline = daemon.descriptors()
    assert counts["messages"] > kills
    grown = memory_at_rest(daemon, open_name) - memory
    held = ("flows", "bytes", "descriptors", "held")
    wait_for(lambda: all(daemon.usage(ALICE)[what].split()[0] == "0" for what in held),
             "nothing charged any more")
    daemon.wait_descriptors(baseline)
    figures.record(f"a {role} killed at random moments", **counts, **{"memory grown, KiB": grown})
    assert grown <= 1024
