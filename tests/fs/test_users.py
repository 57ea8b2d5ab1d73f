# SPDX-License-Identifier: BSD-3-Clause
"""users/UID, and quotas: what one user takes does not starve another (trial 7, for what exists)."""

import errno
import os
import select
import time

import pytest
from harness import read_values, write_text
from procs import Child, as_user, wait_for
from sysc import raises_errno

ALICE, BOB = 61001, 61002
RESOURCES = ["names", "flows", "bytes", "descriptors", "held", "buses", "ports"]
LIMITS = {"names": 20, "flows": 40, "bytes": 4_000_000, "descriptors": 200, "held": 30}
NONBLOCK = os.O_RDWR | os.O_NONBLOCK


@pytest.fixture(scope="module")
def config():
    return "[limits]\n" + "".join(f"{key} = {value}\n" for key, value in LIMITS.items())


def used(daemon, uid, resource):
    try:
        return int(daemon.usage(uid)[resource])
    except FileNotFoundError:
        return 0


@pytest.fixture(autouse=True)
def back_to_zero(daemon):
    """Every charge returns to zero once its cause has gone."""
    yield
    import harness  # pylint: disable=import-outside-toplevel
    import procs  # pylint: disable=import-outside-toplevel
    procs.end_children()
    harness.close_tracked()
    for name in os.listdir(daemon.path("names")):
        path = daemon.path("names", name)
        wait_for(lambda path=path: _removed(path), f"{path} removed")
    for uid in os.listdir(daemon.path("users")):
        wait_for(lambda uid=uid: set(daemon.usage(uid).values()) == {"0"} or uid == "0",
                 f"no charge left for uid {uid}: {daemon.usage(uid)}")


def _removed(path):
    try:
        (os.unlink if os.path.islink(path) else os.rmdir)(path)
    except OSError as error:
        return error.errno == errno.ENOENT
    return True


# --- the files ---------------------------------------------------------------------------------

def test_a_user_appears_with_the_first_charge(daemon):
    path = daemon.path("names", "first")
    as_user(61077, os.mkdir, path)
    assert "61077" in os.listdir(daemon.path("users"))
    assert daemon.usage(61077)["names"] == "1"
    os.rmdir(path)


def test_usage_and_limits_name_every_resource(daemon):
    os.mkdir(daemon.path("names", "x"))
    as_user(ALICE, os.mkdir, daemon.path("names", "y"))
    for file in ("usage", "limits"):
        assert set(RESOURCES) <= set(read_values(daemon.path("users", str(ALICE), file)))
    limits = read_values(daemon.path("users", str(ALICE), "limits"))
    assert {key: int(limits[key]) for key in LIMITS} == LIMITS


def test_a_user_reads_his_own_only(daemon):
    as_user(ALICE, os.mkdir, daemon.path("names", "alices"))
    folder = daemon.path("users", str(ALICE))
    found = os.stat(folder)
    assert (found.st_uid, found.st_mode & 0o777) == (ALICE, 0o500)
    assert "names 1" in as_user(ALICE, lambda: open(folder + "/usage", encoding="ascii").read())
    with raises_errno(errno.EACCES):
        as_user(BOB, os.listdir, folder)


def test_root_changes_a_limit(daemon):
    as_user(ALICE, os.mkdir, daemon.path("names", "a"))
    limits = daemon.path("users", str(ALICE), "limits")
    try:
        write_text(limits, "names 1")
        with raises_errno(errno.EDQUOT):
            as_user(ALICE, os.mkdir, daemon.path("names", "b"))
    finally:
        write_text(limits, f"names {LIMITS['names']}")
    as_user(ALICE, os.mkdir, daemon.path("names", "b"))


def test_a_user_does_not_change_his_limit(daemon):
    as_user(ALICE, os.mkdir, daemon.path("names", "a"))
    with raises_errno(errno.EACCES, errno.EPERM):
        as_user(ALICE, write_text, daemon.path("users", str(ALICE), "limits"), "names 1000")


@pytest.mark.parametrize("bad", ["names", "names x", "unknown 3", "names -1", "names 1 2"])
def test_a_bad_limit_changes_nothing(daemon, bad):
    as_user(ALICE, os.mkdir, daemon.path("names", "a"))
    limits = daemon.path("users", str(ALICE), "limits")
    before = read_values(limits)
    with raises_errno(errno.EINVAL):
        write_text(limits, bad)
    assert read_values(limits) == before


# --- each quota --------------------------------------------------------------------------------

def test_names_are_limited(daemon):
    def take():
        for i in range(LIMITS["names"]):
            os.mkdir(daemon.path("names", f"a{i}"))
        with raises_errno(errno.EDQUOT):
            os.mkdir(daemon.path("names", "one-more"))
        with raises_errno(errno.EDQUOT):
            os.symlink("x", daemon.path("names", "alias"))
        os.rmdir(daemon.path("names", "a0"))
        os.mkdir(daemon.path("names", "one-more"))
    as_user(ALICE, take)
    assert used(daemon, ALICE, "names") == LIMITS["names"]
    as_user(BOB, os.mkdir, daemon.path("names", "bobs"))


@pytest.mark.parametrize("file", ["dial", "accept"])
def test_flows_are_limited(daemon, open_name, file):
    open_name.set("backlog", "max")

    def take():
        fds = []
        try:
            while True:
                fds.append(os.open(open_name.file(file), NONBLOCK))
        except OSError as error:
            return len(fds), error.errno
    count, number = as_user(ALICE, take)
    assert number == errno.EDQUOT
    assert 1 <= count <= LIMITS["flows"]
    wait_for(lambda: used(daemon, ALICE, "flows") == 0, "flows given back")


def test_a_user_at_his_flow_limit_does_not_stop_another(daemon, open_name):
    open_name.set("backlog", "max")

    def hold(writable):
        try:
            while True:
                os.open(open_name.dial, NONBLOCK)
        except OSError:
            os.write(writable, b".")
        select.select([], [], [])
    readable, writable = os.pipe()
    Child(hold, writable, uid=ALICE, keep=[writable])
    assert os.read(readable, 1) == b"."
    os.close(readable), os.close(writable)
    assert as_user(BOB, os.open, open_name.dial, NONBLOCK) >= 0


def test_queued_bytes_are_limited(daemon, open_name):
    """Messages that nobody reads: the writer waits, or gets EAGAIN or EDQUOT, within his limit."""
    open_name.set("backlog", "max")
    count = 10

    def send(writable):
        fds = [os.open(open_name.dial, NONBLOCK) for _ in range(count)]
        for fd in fds:
            select.select([], [fd], [], 5)
        sent = 0
        reasons = set()
        for fd in fds:
            try:
                while True:
                    sent += os.write(fd, b"x" * 100_000)
            except OSError as error:
                reasons.add(error.errno)
        os.write(writable, b"%d %d" % (sent, max(reasons)))
        select.select([], [], [])
    readable, writable = os.pipe()
    Child(send, writable, uid=ALICE, keep=[writable])
    servers = [open_name.open_accept() for _ in range(count)]
    sent, reason = map(int, os.read(readable, 100).split())
    os.close(readable), os.close(writable)
    assert reason in (errno.EAGAIN, errno.EDQUOT)
    assert 0 < sent <= LIMITS["bytes"]
    assert used(daemon, ALICE, "bytes") >= sent
    assert len(os.read(servers[0], 100_000)) == 100_000
    wait_for(lambda: used(daemon, ALICE, "bytes") <= sent, "bytes given back")


def test_held_requests_are_limited(daemon, open_name):
    """Each waits in a process of its own; the one too many fails instead of waiting."""
    open_name.set("backlog", "max").set("dial_timeout", "max")
    wait = [Child(os.open, open_name.dial, os.O_RDWR, uid=ALICE) for _ in range(LIMITS["held"])]
    daemon.wait_states(alloc_pending=LIMITS["held"])
    assert used(daemon, ALICE, "held") == LIMITS["held"]
    extra = Child(os.open, open_name.dial, os.O_RDWR, uid=ALICE)
    with raises_errno(errno.EDQUOT, errno.EAGAIN):
        extra.result()
    assert not any(child.finished(0) for child in wait)
    Child(os.open, open_name.accept, os.O_RDWR, uid=BOB).result()


def test_held_reads_are_limited_and_others_still_wait(daemon, open_name):
    clients = Child(_held_readers, open_name, LIMITS["held"] // 2, uid=ALICE)
    servers = [open_name.open_accept() for _ in range(LIMITS["held"] // 2)]
    wait_for(lambda: used(daemon, ALICE, "held") == LIMITS["held"] // 2, "all reads held")
    for server in servers:
        os.write(server, b"x")
    assert clients.result() == LIMITS["held"] // 2
    wait_for(lambda: used(daemon, ALICE, "held") == 0, "held given back")


def _held_readers(name, count):
    children = []
    for _ in range(count):
        fd = os.open(name.dial, os.O_RDWR)
        children.append(Child(os.read, fd, 10, keep=[fd]))
        os.close(fd)
    return [child.result() for child in children].count(b"x")


def test_descriptors_are_limited(daemon, open_name):
    """Attribute files hold daemon state while they are open."""
    def take():
        fds = []
        try:
            while len(fds) < 5 * LIMITS["descriptors"]:
                fds.append(os.open(daemon.path("events"), os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            return len(fds), error.errno
        return len(fds), 0
    count, number = as_user(ALICE, take)
    assert number == errno.EDQUOT and count <= LIMITS["descriptors"]
    assert as_user(BOB, os.open, daemon.path("events"), os.O_RDONLY | os.O_NONBLOCK) >= 0


# --- trial 7 -----------------------------------------------------------------------------------

def hog(daemon, name, writable):
    """Takes all it can of everything and keeps on trying."""
    for i in range(1000):
        try:
            os.mkdir(daemon.path("names", f"hog{os.getuid()}-{i}"))
        except OSError:
            break
    fds = []
    for path in (name.dial, name.accept, daemon.path("events")):
        try:
            while True:
                fds.append(os.open(path, NONBLOCK & ~os.O_RDWR if "events" in path else NONBLOCK))
        except OSError:
            pass
    os.write(writable, b".")
    while True:
        for fd in fds:
            try:
                os.write(fd, b"x" * 65536)
            except OSError:
                pass
        try:
            os.close(os.open(name.dial, NONBLOCK))
        except OSError:
            pass
        time.sleep(0.01)  # not as fast as the machine can: this is about shares, not about load


@pytest.mark.parametrize("hogs", [1, 8])
def test_a_user_keeps_working_while_others_take_all_they_can(daemon, open_name, hogs):
    open_name.set("backlog", "max")
    readable, writable = os.pipe()
    for i in range(hogs):
        Child(hog, daemon, open_name, writable, uid=61100 + i, keep=[writable])
    for _ in range(hogs):
        assert os.read(readable, 1) == b"."
    os.close(readable), os.close(writable)

    def work():
        mine = daemon.name("mine")
        os.mkdir(mine.path)
        for i in range(50):
            client, server = mine.pair()
            os.write(client, b"%d" % i)
            assert os.read(server, 10) == b"%d" % i
            os.close(client), os.close(server)
        flows = [mine.pair() for _ in range(LIMITS["flows"] // 2)]
        names = LIMITS["names"] - 1
        for i in range(names):
            os.mkdir(daemon.path("names", f"bob{i}"))
        return len(flows)
    assert as_user(BOB, work) == LIMITS["flows"] // 2
