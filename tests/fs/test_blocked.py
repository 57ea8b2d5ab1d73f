# SPDX-License-Identifier: BSD-3-Clause
"""Trial 3: many who wait harm nobody, and every one of them can be killed, however it waits."""

import os
import select
import signal
import statistics
import subprocess
import time

import pytest
from figures import note_longest, record
from fixtures import long_run
from harness import close, program
from procs import Child, become, describe, is_blocked, state_of, wait_blocked, wait_for

ALICE = 61001
READERS = 1000
NONBLOCK = os.O_RDWR | os.O_NONBLOCK
pytestmark = pytest.mark.deadline(120)


@pytest.fixture(scope="module")
def config():
    return "[limits]\nheld = 5000\nflows = 5000\n"


def blocked_readers(name, count, writable):
    """Dials `count` flows and forks a reader for each; reports their pids and stays."""
    pids = []
    for _ in range(count):
        fd = os.open(name.dial, os.O_RDWR)
        pid = os.fork()
        if pid == 0:
            os.read(fd, 1)
            os._exit(0)
        os.close(fd)
        pids.append(pid)
    os.write(writable, b" ".join(b"%d" % pid for pid in pids) + b"\n")
    select.select([], [], [])


def read_line(fd):
    text = b""
    while not text.endswith(b"\n"):
        text += os.read(fd, 65536)
    return text


def test_root_s_stat_answers_while_a_thousand_readers_of_one_user_wait(daemon, open_name):
    open_name.set("backlog", "max")
    readable, writable = os.pipe()
    parent = Child(blocked_readers, open_name, READERS, writable, uid=ALICE, keep=[writable])
    servers = [open_name.open_accept() for _ in range(READERS)]
    pids = [int(word) for word in read_line(readable).split()]
    os.close(readable), os.close(writable)
    assert len(pids) == READERS
    for pid in pids:
        wait_blocked(pid, "read")
    assert int(daemon.usage(ALICE)["held"]) == READERS

    times = []
    for _ in range(200):
        start = time.perf_counter()
        os.stat(daemon.path("names", open_name.name, "dial"))
        times.append(time.perf_counter() - start)
        os.listdir(daemon.path("names"))
    record("root's stat beside 1,000 blocked readers", p50_ms=1000 * statistics.median(times),
           longest_ms=1000 * max(times))
    # All of that was answered while every one of them waited: none was let go for it.
    assert int(daemon.usage(ALICE)["held"]) == READERS
    assert all(is_blocked(pid, "read") for pid in pids)

    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(state_of(pid) in ("Z", "") for pid in pids), "all readers dead")
    for server in servers:
        assert os.read(server, 1) == b""
    close(*servers)
    parent.kill()
    parent.reap()


def test_other_flows_carry_on_meanwhile(daemon, open_name):
    open_name.set("backlog", "max")
    readable, writable = os.pipe()
    parent = Child(blocked_readers, open_name, 200, writable, uid=ALICE, keep=[writable])
    servers = [open_name.open_accept() for _ in range(200)]
    pids = [int(word) for word in read_line(readable).split()]
    os.close(readable), os.close(writable)
    client, server = open_name.pair()
    for i in range(500):
        os.write(client, b"%d" % i)
        assert os.read(server, 10) == b"%d" % i
    for fd in servers:
        os.write(fd, b"x")
    wait_for(lambda: all(state_of(pid) in ("Z", "") for pid in pids), "all readers answered")
    parent.kill()
    parent.reap()


def test_the_longest_waiting_dies_as_fast_as_the_latest(name):
    pairs = [name.pair() for _ in range(100)]
    children = [Child(os.read, client, 1, keep=[client]) for client, _ in pairs]
    for child in children:
        child.wait_blocked("read")
    for i in (0, 50, 99):
        children[i].assert_dies()


@pytest.mark.parametrize("victims", ["dial", "accept"])
def test_hundreds_of_waiting_opens_die(daemon, name, victims):
    name.set("backlog", "max")
    children = [Child(os.open, name.file(victims), os.O_RDWR) for _ in range(200)]
    daemon.wait_states(**{"alloc_pending" if victims == "dial" else "accept_pending": 200})
    for child in children:
        child.kill()
    for child in children:
        child.reap()
    wait_for(lambda: not daemon.flow_states(), "no flows")


# --- asynchronous callers ----------------------------------------------------------------------

class Reader:
    """The program that reads descriptors through libaio or io_uring."""

    def __init__(self, how, fds):
        self.process = subprocess.Popen([program("async_reads"), how, *map(str, fds)], pass_fds=fds,
                                        stdout=subprocess.PIPE, bufsize=0)

    def line(self, timeout_s=10):
        text = b""
        end = time.monotonic() + timeout_s
        while not text.endswith(b"\n"):
            left = max(0.0, end - time.monotonic())
            assert select.select([self.process.stdout], [], [], left)[0], describe(self.process.pid)
            part = self.process.stdout.read(1)
            if not part:
                break
            text += part
        return text.decode().strip()

    def wait_submitted(self):
        assert self.line() == "submitting"

    def die(self):
        start = time.monotonic()
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        note_longest("a killed process that waited is gone", time.monotonic() - start)


@pytest.fixture
def reader():
    made = []

    def make(how, fds):
        made.append(Reader(how, fds))
        return made[-1]
    yield make
    for one in made:
        if one.process.poll() is None:
            one.die()


# An io_uring read of what looks like a regular file is filled up by the kernel from further messages until
# the buffer is full or the flow ends. These keep the boundaries: libaio, and io_uring's poll before a read.
HOWS = ["aio", "poll"]
EVERY_WAY = [*HOWS, "plain", "worker"]


@pytest.mark.parametrize("how", HOWS)
def test_a_message_that_is_there_is_read(name, reader, how):
    client, server = name.pair()
    os.write(server, b"hello")
    asked = reader(how, [client])
    asked.wait_submitted()
    assert asked.line() == f"{client} 5 hello"


@pytest.mark.parametrize("how", HOWS)
def test_a_parked_read_gets_the_message_that_comes(name, reader, how):
    client, server = name.pair()
    asked = reader(how, [client])
    asked.wait_submitted()
    wait_for(lambda: _is_parked(asked.process.pid), "parked")
    os.write(server, b"late")
    assert asked.line() == f"{client} 4 late"


@pytest.mark.parametrize("how", EVERY_WAY)
def test_a_parked_read_sees_the_end(name, reader, how):
    client, server = name.pair()
    asked = reader(how, [client])
    asked.wait_submitted()
    wait_for(lambda: _is_parked(asked.process.pid), "parked")
    close(server)
    assert asked.line() == f"{client} 0"


@pytest.mark.parametrize("how", ["plain", "worker"])
def test_a_plain_io_uring_read_is_filled_up_by_the_kernel(name, reader, how):
    client, server = name.pair()
    os.write(server, b"two ")
    os.write(server, b"messages")
    asked = reader(how, [client])
    asked.wait_submitted()
    close(server)
    assert asked.line() == f"{client} 12 two messages"


@pytest.mark.parametrize("how", EVERY_WAY)
def test_parked_reads_wedge_nothing_and_die(daemon, name, reader, how):
    """The case that ASYNC_DIO would lose: others open, close and stat while these are parked."""
    pairs = [name.pair() for _ in range(8 if how == "aio" else 64)]
    clients = [client for client, _ in pairs]
    readers = [reader(how, [fd]) for fd in clients] if how == "aio" else [reader(how, clients)]
    for one in readers:
        one.wait_submitted()
        wait_for(lambda one=one: _is_parked(one.process.pid), "parked")

    def others():
        for _ in range(50):
            os.close(os.open(name.dial, NONBLOCK))
            os.stat(name.accept)
            os.listdir(daemon.path("flows"))
            client, server = name.pair()
            os.write(client, b"x")
            os.read(server, 1)
            os.close(client), os.close(server)
    Child(others).result()
    for one in readers:
        one.die()
    for client, server in pairs:
        os.write(server, b"next")
        assert os.read(client, 10) == b"next"


def _is_parked(pid):
    """Whether some thread of it, workers of the kernel included, waits in the tree or in poll."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/wchan", encoding="ascii") as file:
                if file.read() in ("request_wait_answer", "io_cqring_wait"):
                    return True
        except OSError:
            pass
    return False


# --- two processes, one description, one waiting to write --------------------------------------

@pytest.mark.parametrize("nonblock_second", [False, True])
def test_a_second_writer_on_a_full_shared_description_can_be_killed(name, nonblock_second):
    """Without PARALLEL_DIRECT_WRITES the second one is in D for as long as the first one waits."""
    client, server = name.set("depth", 4096).pair()
    os.write(client, b"x" * 4096)
    first = Child(os.write, client, b"a" * 4096, keep=[client]).wait_blocked("write")
    second = Child(os.write, client, b"b" * 4096, keep=[client]).wait_blocked("write")
    assert state_of(second.pid) == "S"
    second.assert_dies()
    os.read(server, 5000)
    first.result()
    assert os.read(server, 5000) == b"a" * 4096


def test_appending_writers_are_serialised_and_can_be_killed(name):
    """With O_APPEND the kernel queues the second behind the first; killing the first frees both."""
    client, server = name.set("depth", 4096).pair(client=os.O_RDWR | os.O_APPEND)
    os.write(client, b"x" * 4096)
    first = Child(os.write, client, b"a" * 4096, keep=[client]).wait_blocked("write")
    second = Child(os.write, client, b"b" * 4096, keep=[client])
    first.assert_dies()
    second.wait_blocked("write")
    assert os.read(server, 5000) == b"x" * 4096
    second.result()
    assert os.read(server, 5000) == b"b" * 4096


def test_c_program_two_processes_on_one_description(name):
    """From C: the parent waits to write while the child reads, polls and is served."""
    client, server = name.set("depth", 4096).pair()
    process = subprocess.Popen([program("shared_description"), str(client)], pass_fds=[client],
                               stdout=subprocess.PIPE, text=True)
    os.set_blocking(server, True)
    os.write(server, b"to the child")
    assert process.stdout.readline() == "child read to the child\n"
    total = 0
    while total < 4096 * 8:
        total += len(os.read(server, 5000))
    assert process.stdout.readline() == "parent wrote 8\n"
    assert process.wait(10) == 0
    process.stdout.close()


def test_c_program_hundreds_of_flows_in_one_epoll(name):
    """From C: 300 flows, edge-triggered, descriptors of one half passed over a Unix socket."""
    done = subprocess.run([program("epoll_many"), name.path, "300", "20"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "6000 messages"), done.stderr


def test_c_program_signal_storm(name):
    """From C: timers hit a blocking reader and writer with SA_RESTART; both retry, nothing is lost."""
    count = 100_000 if long_run() else 5_000
    done = subprocess.run([program("signal_storm"), name.path, str(count)], capture_output=True,
                          text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    messages, interrupts = map(int, done.stdout.split())
    assert messages == count and interrupts > 0


def test_a_child_that_became_someone_else_keeps_its_right(open_name):
    """Authorised at open: a descriptor goes on after its process has changed its uid."""
    client, server = open_name.pair()

    def changed():
        become(ALICE, None, [])
        os.write(client, b"still allowed")
    Child(changed, keep=[client]).result()
    assert os.read(server, 100) == b"still allowed"
