# SPDX-License-Identifier: BSD-3-Clause
"""A daemon in a control group of 20 MiB refuses in time and lives (trial 8)."""

import contextlib
import errno
import os

import pytest

import harness
import procs
from harness import wait_for

LIMIT = 20 << 20
STRANGER = 61081


def memory_group():
    """A control group of our own with a memory limit: its folder, or None."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                        ("/sys/fs/cgroup", "memory.max")):
        group = f"{root}/flowfs-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            os.mkdir(group)
            try:
                with open(f"{group}/{limit}", "w", encoding="ascii") as file:
                    file.write(str(LIMIT))
                return group
            except OSError:
                os.rmdir(group)
    return None


def remove(group):
    try:
        os.rmdir(group)
    except OSError:  # its processes are still ending
        return False
    return True


@pytest.fixture
def group():
    if harness.is_sanitized():
        pytest.skip("a sanitizer needs more memory than that")
    made = memory_group()
    if made is None:
        pytest.skip("no memory controller of control groups can be used here")
    yield made
    wait_for(lambda: remove(made), "an empty group")


def fill(name):
    """Opens flows and stuffs each as far as the daemon lets it. The errors it gave."""
    errors = set()
    for _ in range(3000):
        try:
            os.open(name.accept, os.O_RDWR | os.O_NONBLOCK)
            client = os.open(name.dial, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            errors.add(error.errno)
            break
        try:
            for _ in range(4):
                os.write(client, b"x" * 200_000)
        except OSError as error:
            errors.add(error.errno)
    return sorted(errors)


def test_a_daemon_with_20_mib_refuses_and_lives(fresh_daemon, group):
    def enter():
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    daemon = fresh_daemon(limits=enter).start()
    name = daemon.name("n")
    os.mkdir(name.path)
    os.chmod(name.accept, 0o666)
    os.chmod(name.dial, 0o666)
    pair = name.pair()
    for uid in (0, STRANGER):
        errors = procs.as_user(uid, fill, name)
        assert errors, "everything was taken"
        assert set(errors) <= {errno.EDQUOT, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
                               errno.EMFILE}
    assert daemon.process.poll() is None
    os.write(pair[0], b"ping")
    assert os.read(pair[1], 10) == b"ping"
    for fd in pair:
        os.close(fd)
    wait_for(lambda: not daemon.flow_states(), "no flows")
    daemon.stop()
