# SPDX-License-Identifier: BSD-3-Clause
"""libflowfs over a real mount: both modes against each other and against plain files."""

import errno
import itertools
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
import wire
from harness import binary, close, is_sanitized, program, read_text, track
from procs import Child, wait_for
from sysc import raises_errno

LIBRARY = os.path.join(binary("../lib"), "libflowfs.so.0")
MODULE = os.path.join(os.path.dirname(__file__), "..", "..", "python")
ALICE, BOB = 61001, 61002
FILE = 1
MODES = [(0, 0), (0, FILE), (FILE, 0), (FILE, FILE)]
_seeds = itertools.count(int(os.environ.get("FLOWFS_SEED", "1")))

if not is_sanitized():
    os.environ["FLOWFS_LIBRARY"] = LIBRARY
    sys.path.insert(0, MODULE)
    import flowfs

in_python = pytest.mark.skipif(
    is_sanitized(), reason="this interpreter cannot load a library built with a sanitizer")


@pytest.fixture
def can_map(daemon):
    if "passthrough yes" not in read_text(daemon.path("version")):
        pytest.skip("this kernel does not map through the mount (no FUSE passthrough)")


def pair(name, client=0, server=0):
    """Both ends of a flow in this process: (client, server)."""
    mount = name.daemon.mount
    serving = flowfs.accept(name.name, mount, server, timeout=0)
    dialled = flowfs.dial(name.name, mount, client, timeout=10)
    with raises_errno(errno.EAGAIN):
        serving.recv(timeout=0)  # settles the server's mode
    return dialled, serving


def file_pair(name, flags=0):
    """A handle and, at the other end, a plain descriptor."""
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    return flowfs.dial(name.name, name.daemon.mount, flags, timeout=10), server


# --- programs that send and receive at once -----------------------------------------------------

def traffic(name, client, server, count, longest):
    seed = next(_seeds) * 1000
    ends = []
    for role, flags in (("accept", server), ("dial", client)):
        ends.append(subprocess.Popen(
            [program("lib_traffic"), name.daemon.mount, name.name, role, str(seed), str(count),
             str(longest), str(flags)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    answers = [end.communicate(timeout=120) for end in ends]
    for end, (_, errors) in zip(ends, answers):
        assert end.returncode == 0, f"seed {seed}: {[text for _, text in answers]}"
        assert errors == ""
    return [output.strip() for output, _ in answers]


@pytest.mark.deadline(150)
@pytest.mark.parametrize("client,server", MODES)
@pytest.mark.parametrize("longest,count", [(200, 20000), (20000, 4000), (917504, 150)])
def test_both_directions_keep_order_and_content(can_map, name, client, server, longest, count):
    if is_sanitized():
        count //= 10
    modes = traffic(name, client, server, count, longest)
    assert modes == ["file" if flags & FILE else "mapped" for flags in (server, client)]


@pytest.mark.deadline(150)
@pytest.mark.parametrize("spin", [2, 4], ids=["never", "always"])
def test_sleeping_at_once_and_never_lose_nothing(can_map, name, spin):
    count = 2000 if is_sanitized() else 20000
    assert traffic(name, spin, spin, count, 5000) == ["mapped", "mapped"]


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


# --- one call at a time --------------------------------------------------------------------------

@pytest.fixture(params=MODES, ids=lambda modes: "-".join("file" if m else "mapped" for m in modes))
def flow(request, can_map, name):
    if is_sanitized():
        pytest.skip("this interpreter cannot load a library built with a sanitizer")
    client, server = pair(name, *request.param)
    yield client, server
    client.close()
    server.close()


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


# --- opening ------------------------------------------------------------------------------------

@in_python
def test_errors_of_opening(daemon, name):
    for wrong in ("", ".", "..", "a/b"):
        with raises_errno(errno.EINVAL):
            flowfs.dial(wrong, daemon.mount)
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
@pytest.mark.deadline(900)
def test_killed_at_any_moment_nothing_is_left(can_map, daemon, open_name):
    kills = 10000 if os.environ.get("FLOWFS_LONG") == "1" else 200
    mount = daemon.mount
    choose = random.Random(next(_seeds))

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

    baseline = None
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
            baseline = daemon.descriptors()
    assert echoed > kills
    wait_for(lambda: daemon.flow_states() == {}, "no flow left")
    held = ("flows", "bytes", "descriptors", "held")
    wait_for(lambda: all(daemon.usage(ALICE)[what].split()[0] == "0" for what in held),
             "nothing charged any more")
    assert daemon.descriptors() <= baseline
