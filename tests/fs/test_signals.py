# SPDX-License-Identifier: BSD-3-Clause
"""Signals, stopping and killing while a call waits in the tree."""

import errno
import os
import signal
import threading

import pytest
import sysc
from harness import set_nonblock
from procs import Child, describe, state_of, wait_blocked, wait_for
from sysc import raises_errno


def interruptible(call, *args, restart=False):
    """The raw call with a SIGUSR1 handler in place: (its outcome, how often the handler ran)."""
    calls = []
    signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))
    signal.siginterrupt(signal.SIGUSR1, not restart)
    return sysc.outcome(call, *args), len(calls)


def fill(fd, size=4096):
    """Writes until the flow is full."""
    set_nonblock(fd)
    with raises_errno(errno.EAGAIN):
        while True:
            os.write(fd, b"x" * size)
    set_nonblock(fd, False)


class Waits:
    """The four ways to wait, each as (call, arguments, descriptors to keep, system call)."""

    def __init__(self, daemon, name):
        self.daemon, self.name = daemon, name

    def reader(self):
        client, server = self.name.pair()
        return sysc.read, (client, 100), [client], "read", lambda: os.write(server, b"later")

    def writer(self):
        client, server = self.name.set("depth", 4096).pair()
        fill(client)
        return sysc.write, (client, b"y" * 4096), [client], "write", lambda: os.read(server, 4096)

    def dialer(self):
        return (sysc.open_once, (self.name.dial, os.O_RDWR), [], "openat",
                lambda: self.name.open_accept())

    def acceptor(self):
        return (sysc.open_once, (self.name.accept, os.O_RDWR), [], "openat",
                lambda: self.name.open_dial())

    def wait_parked(self, kind, child):
        if kind == "dialer":
            self.daemon.wait_states(alloc_pending=1)
        elif kind == "acceptor":
            self.daemon.wait_states(accept_pending=1)
        wait_blocked(child.pid, {"reader": "read", "writer": "write"}.get(kind, "openat"))


KINDS = ["reader", "writer", "dialer", "acceptor"]


@pytest.fixture
def waits(daemon, name):
    return Waits(daemon, name)


@pytest.mark.parametrize("restart", [False, True], ids=["interrupt", "SA_RESTART"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_ends_a_wait_with_eintr(waits, kind, restart):
    call, args, keep, _, _ = getattr(waits, kind)()
    child = Child(interruptible, call, *args, keep=keep) if not restart else \
        Child(lambda: interruptible(call, *args, restart=True), keep=keep)
    waits.wait_parked(kind, child)
    child.kill(signal.SIGUSR1)
    assert child.result() == ("EINTR", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_made_again_after_eintr_succeeds(waits, kind):
    call, args, keep, _, finish = getattr(waits, kind)()

    marker, writable = os.pipe()

    def twice():
        first = interruptible(call, *args)
        os.write(writable, b".")
        second = sysc.outcome(call, *args)
        return first, isinstance(second, (bytes, int))
    child = Child(twice, keep=[*keep, writable])
    waits.wait_parked(kind, child)
    child.kill(signal.SIGUSR1)
    assert os.read(marker, 1) == b"."
    waits.wait_parked(kind, child)
    finish()
    assert child.result() == (("EINTR", 1), True)
    os.close(marker), os.close(writable)


@pytest.mark.parametrize("kind", KINDS)
def test_stopping_ends_a_wait_with_eintr(waits, kind):
    call, args, keep, _, _ = getattr(waits, kind)()
    child = Child(sysc.outcome, call, *args, keep=keep)
    waits.wait_parked(kind, child)
    child.kill(signal.SIGSTOP)
    wait_for(lambda: state_of(child.pid) == "T", "stopped")
    child.kill(signal.SIGCONT)
    assert child.result() == "EINTR"


@pytest.mark.parametrize("kind", KINDS)
def test_sigkill_ends_a_wait_at_once(waits, kind):
    call, args, keep, _, _ = getattr(waits, kind)()
    child = Child(call, *args, keep=keep)
    waits.wait_parked(kind, child)
    child.assert_dies()


@pytest.mark.parametrize("kind", ["dialer", "acceptor"])
def test_an_interrupted_open_leaves_nothing_behind(waits, daemon, kind):
    call, args, keep, _, _ = getattr(waits, kind)()
    child = Child(interruptible, call, *args, keep=keep)
    waits.wait_parked(kind, child)
    child.kill(signal.SIGUSR1)
    child.result()
    wait_for(lambda: not os.listdir(daemon.path("flows")), "flows/ empty")
    os.rmdir(waits.name.path)


def test_an_interrupted_read_takes_no_message(waits):
    client, server = waits.name.pair()
    child = Child(interruptible, sysc.read, client, 100, keep=[client]).wait_blocked("read")
    child.kill(signal.SIGUSR1)
    child.result()
    os.write(server, b"whole")
    assert os.read(client, 100) == b"whole"


def test_an_interrupted_write_sends_nothing(waits):
    client, server = waits.name.set("depth", 4096).pair()
    os.write(client, b"x" * 4096)
    child = Child(interruptible, sysc.write, client, b"lost", keep=[client]).wait_blocked("write")
    child.kill(signal.SIGUSR1)
    assert child.result()[0] == "EINTR"
    assert os.read(server, 5000) == b"x" * 4096
    os.write(client, b"after")
    assert os.read(server, 5000) == b"after"


def test_an_ignored_signal_does_not_end_a_wait(waits):
    client, server = waits.name.pair()

    def ignoring():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return sysc.outcome(sysc.read, client, 9)
    child = Child(ignoring, keep=[client]).wait_blocked("read")
    for _ in range(20):
        child.kill(signal.SIGUSR1)
    os.write(server, b"x")
    assert child.result() == b"x"


def test_a_traced_process_sees_eintr_and_goes_on(waits):
    """strace attaches by stopping: the wait ends as it does for any stop."""
    client, server = waits.name.pair()

    def retrying():
        while True:
            value = sysc.outcome(sysc.read, client, 9)
            if value != "EINTR":
                return value
    child = Child(retrying, keep=[client]).wait_blocked("read")
    child.kill(signal.SIGSTOP)
    wait_for(lambda: state_of(child.pid) == "T", "stopped")
    child.kill(signal.SIGCONT)
    child.wait_blocked("read")
    os.write(server, b"x")
    assert child.result() == b"x"


def test_a_signal_storm_loses_no_message(waits):
    """Reader and writer are hit by hundreds of signals and retry; every message arrives once."""
    client, server = waits.name.set("depth", 4096).pair()
    count = 1500

    def handled():
        signal.signal(signal.SIGUSR1, lambda *_: None)

    def send():
        handled()
        for i in range(count):
            while sysc.outcome(sysc.write, client, b"%06d" % i + b"x" * 500) == "EINTR":
                pass

    def receive():
        handled()
        seen = []
        while len(seen) < count:
            data = sysc.outcome(sysc.read, server, 1000)
            if data != "EINTR":
                seen.append(int(data[:6]))
        return seen
    reader = Child(receive, keep=[server]).wait_blocked("read")
    writer = Child(send, keep=[client])
    stop = threading.Event()

    def storm():
        while not stop.wait(0.0005):
            for child in (reader, writer):
                try:
                    child.kill(signal.SIGUSR1)
                except ProcessLookupError:
                    return
    # The writer installs its handler first thing; a signal before that would kill it.
    wait_for(lambda: _catches(writer.pid, signal.SIGUSR1), "handler installed")
    thread = threading.Thread(target=storm)
    thread.start()
    try:
        assert reader.result(30) == list(range(count))
        writer.result()
    finally:
        stop.set()
        thread.join()


def _catches(pid, number):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            mask, = [line.split()[1] for line in file if line.startswith("SigCgt:")]
    except OSError:
        return True
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_frozen_processes_thaw_with_eintr(waits):
    """The cgroup freezer must be able to freeze a process that waits in the tree."""
    root = "/sys/fs/cgroup/freezer"
    if not os.path.exists(os.path.join(root, "tasks")):
        pytest.skip("no cgroup v1 freezer here")
    group = os.path.join(root, f"flowfs-test-{os.getpid()}")
    client, _ = waits.name.pair()
    child = Child(sysc.outcome, sysc.read, client, 9, keep=[client]).wait_blocked("read")
    os.mkdir(group)
    try:
        _put(group, "tasks", child.pid)
        _put(group, "freezer.state", "FROZEN")
        wait_for(lambda: _get(group, "freezer.state") == "FROZEN", f"frozen: {describe(child.pid)}")
        _put(group, "freezer.state", "THAWED")
        assert child.result() == "EINTR"
    finally:
        _put(group, "freezer.state", "THAWED")
        child.kill() if not child.reaped() else None
        child.reap()
        wait_for(lambda: not _get(group, "tasks"), "freezer group empty")
        os.rmdir(group)


def _put(group, file, value):
    with open(os.path.join(group, file), "w", encoding="ascii") as out:
        out.write(str(value))


def _get(group, file):
    with open(os.path.join(group, file), encoding="ascii") as text:
        return text.read().strip()
