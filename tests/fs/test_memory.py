# SPDX-License-Identifier: BSD-3-Clause
"""A daemon in a control group of 20 MiB refuses in time and lives, and what was shared is given back (trial 8)."""

import contextlib
import errno
import os
import signal

import pytest

import harness
import lib
import procs
from harness import wait_for
from mapped import MappedEnd

LIMIT, ROOMY = 20 << 20, 1 << 30
STRANGER = 61081
NONBLOCK = os.O_RDWR | os.O_NONBLOCK


class Group:
    """A control group of our own with a memory limit."""

    def __init__(self, folder):
        self.folder = folder

    def enter(self):
        with open(f"{self.folder}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))

    def shared_bytes(self):
        """Shared memory that its processes were the first to touch, and that is still there."""
        with open(f"{self.folder}/memory.stat", encoding="ascii") as file:
            return int(harness.parse_values(file.read())["shmem"])

    def remove(self):
        try:
            os.rmdir(self.folder)
        except OSError:  # its processes are still ending
            return False
        return True


def memory_group(limit):
    """A group, or None."""
    for root, file_name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                            ("/sys/fs/cgroup", "memory.max")):
        folder = f"{root}/flowfs-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            os.mkdir(folder)
            try:
                with open(f"{folder}/{file_name}", "w", encoding="ascii") as file:
                    file.write(str(limit))
                return Group(folder)
            except OSError:
                os.rmdir(folder)
    return None


@pytest.fixture
def group(request):
    if harness.is_sanitized():
        pytest.skip("a sanitizer needs more memory than that")
    made = memory_group(getattr(request, "param", LIMIT))
    if made is None:
        pytest.skip("no memory controller of control groups can be used here")
    yield made
    wait_for(made.remove, "an empty group")


@pytest.fixture
def served(fresh_daemon, group):
    """(a daemon in the group, a name that everybody may use)"""
    daemon = fresh_daemon(limits=group.enter).start()
    name = daemon.name("n")
    os.mkdir(name.path)
    os.chmod(name.accept, 0o666)
    os.chmod(name.dial, 0o666)
    return daemon, name


def fill(_daemon, name):
    """Opens flows and stuffs each as far as the daemon lets it. The errors it gave."""
    errors = set()
    for _ in range(3000):
        try:
            os.open(name.accept, NONBLOCK)
            client = os.open(name.dial, NONBLOCK)
        except OSError as error:
            errors.add(error.errno)
            break
        try:
            for _ in range(4):
                os.write(client, b"x" * 200_000)
        except OSError as error:
            errors.add(error.errno)
    return sorted(errors)


def fill_mapped(daemon, name):
    """The same with mapped ends, which write their hot rings full."""
    errors = set()
    for _ in range(3000):
        try:
            server = os.open(name.accept, NONBLOCK)
            ends = [MappedEnd(daemon, fd) for fd in (os.open(name.dial, NONBLOCK), server)]
        except OSError as error:
            errors.add(error.errno)
            break
        for end in ends:
            for _ in range(8):
                end.send(b"x" * 3000)
    return sorted(errors)


@pytest.mark.parametrize("take", [fill, fill_mapped])
def test_a_daemon_with_20_mib_refuses_and_lives(served, take):
    daemon, name = served
    pair = name.pair()
    if take is fill_mapped:
        name.set("mtu", 4096).set("depth", 4096)  # many segments, and not a few large ones
        mapped = [MappedEnd(daemon, fd) for fd in name.pair()]
    for uid in (0, STRANGER):
        errors = procs.as_user(uid, take, daemon, name)
        assert errors, "everything was taken"
        assert set(errors) <= {errno.EDQUOT, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
                               errno.EMFILE}
    assert daemon.process.poll() is None
    os.write(pair[0], b"ping")
    assert os.read(pair[1], 10) == b"ping"
    if take is fill_mapped:
        mapped[0].send(b"mapped")
        assert mapped[1].receive() == b"mapped"
    harness.close_tracked()
    wait_for(lambda: not daemon.flow_states(), "no flows")
    daemon.stop()


@lib.in_python
@pytest.mark.parametrize("group", [ROOMY], indirect=True)
def test_memory_that_was_shared_is_given_back(served, group):
    """Each page is counted to the group of who touched it first: all of these are in one."""
    daemon, name = served

    def use(end):
        group.enter()
        flows = [lib.pair(name) for _ in range(20)]
        for client, server in flows:
            for length in (1000, 500_000):
                client.send(bytes(length), timeout=5)
                assert len(server.recv(5)) == length
            with client.loan(100_000, timeout=5) as loan:
                loan.commit(timeout=5)
        assert flows[0][0].is_mapped
        wait_for(lambda: group.shared_bytes() > before + (1 << 20), "more shared memory")
        end()
    before = group.shared_bytes()
    for _ in range(3):
        procs.Child(use, lambda: None).result(30)
        killed = procs.Child(use, lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert os.WTERMSIG(killed.reap(30)) == signal.SIGKILL
    wait_for(lambda: group.shared_bytes() <= before, "all shared memory given back")
    daemon.stop()
