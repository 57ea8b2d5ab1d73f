# SPDX-License-Identifier: BSD-3-Clause
"""Trials 3, 7 and 9 for buses: many who wait, who takes all, and modes against tmpfs."""

import errno
import itertools
import os
import select
import tempfile

import pytest
from procs import Child, as_user, wait_blocked, wait_for
from sysc import outcome

ALICE, BOB, STAFF = 61001, 61002, 61050
READERS = 200
MALLORIES = range(61101, 61109)


@pytest.fixture(scope="module")
def config():
    return "[limits]\nports = 40\nbuses = 20\nheld = 400\n[limits.total]\nports = 400\nbuses = 200\n"


def take_ports(bus, writable):
    """Joins as often as it may, says how often, and stays."""
    count = 0
    try:
        while True:
            os.open(bus.bus, os.O_RDONLY)
            count += 1
    except OSError as error:
        os.write(writable, f"{count} {error.errno}\n".encode())
    select.select([], [], [])


def take_buses(folder):
    made = 0
    try:
        while True:
            os.mkdir(os.path.join(folder, f"{os.getuid()}-{made}"))
            made += 1
    except OSError as error:
        return made, error.errno


def read_line(fd):
    text = b""
    while not text.endswith(b"\n"):
        text += os.read(fd, 1)
    return [int(word) for word in text.split()]


def test_many_blocked_readers_of_one_descriptor_are_all_killed(daemon, open_bus):
    fd = open_bus.reader()
    children = [Child(os.read, fd, 1, keep=[fd], uid=ALICE) for _ in range(READERS)]
    for child in children:
        wait_blocked(child.pid, "read")
    assert daemon.usage(ALICE)["held"] == str(READERS)
    assert os.stat(daemon.path("version")).st_size
    for child in children:
        child.kill()
    for child in children:
        child.reap(5)
    wait_for(lambda: daemon.usage(ALICE)["held"] == "0", "nothing held")
    assert len(open_bus.members()) == 1


def test_who_takes_all_ports_leaves_them_to_others(daemon, open_bus):
    open_bus.set("ports", 1000)
    readable, writable = os.pipe()
    greedy = []
    for uid in MALLORIES:
        greedy.append(Child(take_ports, open_bus, writable, uid=uid, keep=[writable]))
        assert read_line(readable) == [40, errno.EDQUOT]
    assert daemon.usage(MALLORIES[0])["ports"] == "40"
    victim = Child(take_ports, open_bus, writable, uid=ALICE, keep=[writable])
    count, number = read_line(readable)
    assert count >= 40 and number == errno.EDQUOT
    for child in (victim, *greedy):
        child.kill()
        child.reap()
    open_bus.wait_members(0)
    os.close(readable), os.close(writable)
    assert {daemon.usage(uid)["ports"] for uid in (ALICE, *MALLORIES)} == {"0"}


def test_who_makes_all_buses_leaves_them_to_others(daemon):
    folder = daemon.path("buses")
    for uid in (*MALLORIES, ALICE):
        assert as_user(uid, take_buses, folder) == (20, errno.EDQUOT)
    for name in os.listdir(folder):
        os.rmdir(os.path.join(folder, name))
    assert {daemon.usage(uid)["buses"] for uid in (ALICE, *MALLORIES)} == {"0"}


def test_rmdir_racing_opens_gives_a_member_or_no_such_file(daemon):
    path = daemon.path("buses", "racy")

    def join_again_and_again():
        found = set()
        for _ in range(300):
            result = outcome(os.open, os.path.join(path, "bus"), os.O_RDWR)
            if isinstance(result, int):
                os.write(result, b"here")
                os.close(result)
                result = "joined"
            found.add(result)
        return found
    children = [Child(join_again_and_again) for _ in range(2)]
    seen = set()
    while not all(child.finished(0) for child in children):
        seen.add(str(outcome(os.mkdir, path)))
        seen.add(str(outcome(os.rmdir, path)))
    for child in children:
        assert child.result() <= {"joined", "ENOENT"}
    assert seen <= {"None", "EEXIST", "EBUSY"}
    outcome(os.mkdir, path)
    wait_for(lambda: outcome(os.rmdir, path) is None, "the bus to be left")


def test_modes_decide_as_on_tmpfs(open_bus):
    def look(path):
        """What each kind of open gives; what it opens is closed again."""
        found = []
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            result = outcome(os.open, path, flags)
            if not isinstance(result, int) or result < 0:
                found.append(result)
            else:
                os.close(result)
                found.append(0)
        return str(found)
    subjects = [(ALICE, ALICE, []), (BOB, STAFF, []), (BOB, BOB, [STAFF]), (BOB, BOB, [])]
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as oracle:
        for path in (oracle.name, open_bus.bus):
            os.chown(path, ALICE, STAFF)
        modes = [u << 6 | g << 3 | o for u, g, o in itertools.product((0, 2, 4, 6), (0, 4, 6), (0, 2, 6))]

        def all_modes(path, uid, gid, groups):
            results = []
            for mode in modes:
                os.chmod(path, mode)
                results.append(as_user(uid, look, path, gid=gid, groups=groups))
            return results
        for subject in subjects:
            assert all_modes(open_bus.bus, *subject) == all_modes(oracle.name, *subject)
    open_bus.wait_members(0)
