# SPDX-License-Identifier: BSD-3-Clause
"""Trial 8: nothing grows with flows that have gone, and a daemon out of something says so."""

import errno
import itertools
import os
import resource

import lib
import pytest
import wire
from fixtures import long_run, need_mapping
from harness import close, is_sanitized
from lib import can_map, in_python  # pylint: disable=unused-import
from mapped import MappedEnd
from pools import Member
from procs import wait_for

pytestmark = pytest.mark.deadline(1800 if long_run() else 240)
AT_ONCE = 5_000 if long_run() else 500
ROUNDS = 10 if long_run() else 3
FLOWS_A_ROUND = 2_000 if is_sanitized() else 10_000  # a sanitizer keeps what is freed: memory is not compared
MAPPED_AT_ONCE = 100
MAPPED_A_ROUND = 10_000 if long_run() else 500


@pytest.fixture(scope="module", autouse=True)
def many_descriptors():
    """Both ends of the flows alive at once are descriptors of this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * AT_ONCE + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], wanted), max(before[1], wanted)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_and_close_flows(daemon, name, count, touch=None):
    """`count` flows, AT_ONCE at a time, each with a message both ways."""
    for _ in range(count // AT_ONCE):
        pairs = [name.pair() for _ in range(AT_ONCE)]
        for client, server in pairs:
            os.write(client, b"x" * 1000)
            os.write(server, b"y" * 1000)
            if touch:
                touch(daemon, client)
        for client, server in pairs:
            assert len(os.read(server, 2000)) == len(os.read(client, 2000)) == 1000
            close(client, server)
        wait_for(lambda: not os.listdir(daemon.path("flows")), "no flows")


def look_around(daemon, fd):
    """What makes the kernel cache nodes and the daemon build files."""
    folder = daemon.path("flows", str(wire.flow_id(fd)))
    for file in ("state", "stats", "peer"):
        with open(os.path.join(folder, file), "rb") as text:
            assert text.read()


@pytest.mark.parametrize("touch", [None, look_around], ids=["plain", "looked at"])
def test_memory_and_descriptors_are_back_at_the_baseline(daemon, name, touch):
    open_and_close_flows(daemon, name, FLOWS_A_ROUND, touch)  # what is allocated once
    descriptors, memory = daemon.descriptors(), daemon.memory_kib()
    for _ in range(ROUNDS - 1):
        open_and_close_flows(daemon, name, FLOWS_A_ROUND, touch)
    daemon.wait_descriptors(descriptors)
    if not is_sanitized():  # quarantine and shadow grow
        assert daemon.memory_kib() <= memory + 1024


def open_and_close_mapped_flows(daemon, name, count):
    """The same with mapped ends, and messages in the hot ring, the bulk ring and a block."""
    for _ in range(count // MAPPED_AT_ONCE):
        pairs = [lib.pair(name) for _ in range(MAPPED_AT_ONCE)]
        for client, server in pairs:
            server.send(b"y" * 1000, timeout=5)
            client.send(b"x" * 10_000, timeout=5)
            with client.loan(20_000, timeout=5) as loan:
                loan.commit(timeout=5)
            assert [len(server.recv(5)), len(server.recv(5)), len(client.recv(5))] == [10_000, 20_000, 1000]
        assert pairs[0][0].is_mapped and pairs[0][1].is_mapped
        for client, server in pairs:
            client.close()
            server.close()
        wait_for(lambda: not os.listdir(daemon.path("flows")), "no flows")


@in_python
def test_mapped_flows_that_have_gone_leave_nothing(can_map, daemon, name):
    charged = daemon.usage(0)["bytes"]
    open_and_close_mapped_flows(daemon, name, MAPPED_A_ROUND)
    descriptors, memory = daemon.descriptors(), daemon.memory_kib()
    for _ in range(ROUNDS - 1):
        open_and_close_mapped_flows(daemon, name, MAPPED_A_ROUND)
    wait_for(lambda: daemon.usage(0)["bytes"] == charged, "all given back")
    daemon.wait_descriptors(descriptors)
    if not is_sanitized():
        assert daemon.memory_kib() <= memory + 1024


def test_names_that_have_gone_leave_nothing(daemon):
    def churn():
        for i in range(2000):
            path = daemon.path("names", f"n{i % 50}")
            os.mkdir(path)
            with open(os.path.join(path, "backlog"), "rb") as file:
                file.read()
            os.rmdir(path)
    churn()
    descriptors, memory = daemon.descriptors(), daemon.memory_kib()
    for _ in range(ROUNDS):
        churn()
    daemon.wait_descriptors(descriptors)
    if not is_sanitized():
        assert daemon.memory_kib() <= memory + 1024


def test_large_messages_leave_nothing(daemon, name):
    def churn():
        for _ in range(100):
            client, server = name.pair()
            os.write(client, b"x" * 900_000)
            close(client)
            assert os.read(server, 1_000_000) == b"x" * 900_000
            close(server)
    churn()
    memory = daemon.memory_kib()
    for _ in range(ROUNDS):
        churn()
    if not is_sanitized():
        assert daemon.memory_kib() <= memory + 2048


def test_an_idle_flow_takes_little_memory(daemon, name):
    if is_sanitized():
        pytest.skip("a sanitizer's allocator says nothing about memory")
    name.pair()
    before = daemon.memory_kib()
    for _ in range(AT_ONCE):
        name.pair()
    assert (daemon.memory_kib() - before) / AT_ONCE <= 16


def test_file_ends_need_no_descriptor_of_the_daemon(daemon, name):
    before = daemon.descriptors()
    for _ in range(200):
        name.pair()
    daemon.wait_descriptors(before)


def exercise(pairs):
    """Every flow still carries a message both ways."""
    for client, server in pairs:
        os.write(client, b"ping")
        assert os.read(server, 10) == b"ping"
        os.write(server, b"pong")
        assert os.read(client, 10) == b"pong"


def make_daemon_and_flows(fresh_daemon, count, **kwargs):
    server = fresh_daemon(**kwargs).start()
    name = server.name("n")
    os.mkdir(name.path)
    return server, name, [name.pair() for _ in range(count)]


def allow_no_more_descriptors(daemon):
    """A new descriptor gets the lowest free number: forbid that one. Returns the limits before."""
    pid = daemon.process.pid
    taken = {int(entry) for entry in os.listdir(f"/proc/{pid}/fd")}
    lowest_free = next(number for number in itertools.count() if number not in taken)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, hard))
    return soft, hard


def test_a_daemon_out_of_descriptors_says_so_and_running_flows_go_on(fresh_daemon):
    if is_sanitized():
        pytest.skip("a sanitizer needs descriptors of its own: UBSan looks at memory through a pipe")
    daemon, name, pairs = make_daemon_and_flows(fresh_daemon, 100)
    need_mapping(daemon)
    before = daemon.descriptors()
    limits = allow_no_more_descriptors(daemon)
    segments = [daemon.path("flows", str(wire.flow_id(fd)), "tx") for pair in pairs for fd in pair]
    for path in segments:  # each needs memory of its own, which is a descriptor for a while
        with pytest.raises(OSError) as caught:
            os.open(path, os.O_RDWR)
        assert caught.value.errno == errno.ENFILE
    exercise(pairs)
    pairs.append(name.pair())
    exercise(pairs[-1:])
    assert os.listdir(daemon.path("names")) == ["n"]
    daemon.wait_descriptors(before)  # what failed left nothing open

    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
    maps = [os.open(path, os.O_RDWR) for path in segments]
    exercise(pairs)
    for fd in maps:
        os.close(fd)
    for pair in pairs:
        close(*pair)
    wait_for(lambda: not daemon.flow_states(), "no flows")
    daemon.stop()


def test_mapped_flows_take_no_descriptor_of_the_daemon(fresh_daemon):
    """64 are enough for many of them, and for a pool."""
    if is_sanitized():
        pytest.skip("a sanitizer needs descriptors of its own: UBSan looks at memory through a pipe")
    daemon, name, pairs = make_daemon_and_flows(
        fresh_daemon, 50, limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    need_mapping(daemon)
    ends = [[MappedEnd(daemon, fd) for fd in pair] for pair in pairs]
    member = Member(daemon, "shared")
    for number, (client, server) in enumerate(ends):
        client.send(b"%d" % number)
        assert server.receive() == b"%d" % number
    assert member.allocate(0, b"x") >= 0
    others = [name.pair() for _ in range(10)]
    exercise(others)
    member.close()
    for end in itertools.chain(*ends):
        end.close()
    for pair in [*pairs, *others]:
        close(*pair)
    wait_for(lambda: not daemon.flow_states(), "no flows")
    daemon.stop()


def test_with_little_memory_the_daemon_says_so_and_running_flows_go_on(fresh_daemon):
    if is_sanitized():
        pytest.skip("a sanitizer reserves terabytes: no limit of address space can be set")
    daemon, name, pairs = make_daemon_and_flows(fresh_daemon, 20)
    pid = daemon.process.pid
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size + (20 << 20),) * 2)
    name.set("depth", 64 << 20)
    greedy = [name.pair(nonblock=True) for _ in range(10)]
    errors, sent = set(), {}
    for client, _ in greedy:
        try:
            while sum(sent.values()) < 400:
                os.write(client, b"x" * 900_000)
                sent[client] = sent.get(client, 0) + 1
        except OSError as error:
            errors.add(error.errno)
    assert errors and errors <= {errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EDQUOT}
    assert daemon.process.poll() is None
    for client, server in greedy:
        for _ in range(sent.get(client, 0)):
            assert os.read(server, 1_000_000) == b"x" * 900_000
    exercise(pairs)
    for pair in [*pairs, *greedy]:
        close(*pair)
    wait_for(lambda: not daemon.flow_states(), "no flows")
    daemon.stop()


def speak(pairs):
    """Every flow of the library still carries a message both ways."""
    for client, server in pairs:
        client.send(b"ping", timeout=5)
        assert server.recv(5) == b"ping"
        server.send(b"x" * 10_000, timeout=5)
        assert client.recv(5) == b"x" * 10_000


@in_python
def test_with_little_memory_ends_are_files_and_mapped_flows_go_on(fresh_daemon):
    daemon, name, _ = make_daemon_and_flows(fresh_daemon, 0)
    need_mapping(daemon)
    flows = [lib.pair(name) for _ in range(5)]
    assert all(end.is_mapped for pair in flows for end in pair)
    pid = daemon.process.pid
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.prlimit(pid, resource.RLIMIT_AS, (size + (20 << 20), resource.RLIM_INFINITY))
    while all(end.is_mapped for end in flows[-1]):
        flows.append(lib.pair(name))
        speak(flows[-1:])
    assert len(flows) > 6, "20 MiB are enough for some"
    speak(flows)
    resource.prlimit(pid, resource.RLIMIT_AS, before)
    flows.append(lib.pair(name))
    assert all(end.is_mapped for end in flows[-1])
    speak(flows)
    for end in itertools.chain(*flows):
        end.close()
    wait_for(lambda: not daemon.flow_states(), "no flows")
    daemon.stop()


def test_the_daemons_limit_of_flows_is_enfile(fresh_daemon):
    daemon = fresh_daemon("[limits.total]\nflows = 10\n").start()
    name = daemon.name("n")
    os.mkdir(name.path)
    pairs = [name.pair() for _ in range(5)]
    for path in (name.dial, name.accept):
        with pytest.raises(OSError) as caught:
            os.open(path, os.O_RDWR | os.O_NONBLOCK)
        assert caught.value.errno == errno.ENFILE
    exercise(pairs)
    close(*pairs.pop())
    wait_for(lambda: len(daemon.flow_states()) == 8, "one flow gone")
    pairs.append(name.pair())
    exercise(pairs)
    for pair in pairs:
        close(*pair)
    daemon.stop()
