# SPDX-License-Identifier: BSD-3-Clause
"""Trial 2: the daemon is killed while everybody waits for it. No call hangs, and the next one serves."""

import fcntl
import os
import select
import signal
import subprocess
import time

import harness
import pytest
from figures import record
from harness import close_tracked, is_mounted, track
from mapped import MappedEnd
from procs import Child, state_of, wait_for
from sysc import outcome

DEAD = ["ENOTCONN", "ECONNABORTED", "EIO"]
NONBLOCK = os.O_RDWR | os.O_NONBLOCK


@pytest.fixture
def served(fresh_daemon):
    """(daemon, name) with a name in it."""
    server = fresh_daemon().start()
    name = server.name("n")
    os.mkdir(name.path)
    return server, name


class Crowd:
    """One of everybody who can wait, parked."""

    def __init__(self, daemon, name):
        client, other = name.pair()
        full, _ = name.set("depth", 4096).pair()
        os.write(full, b"x" * 4096)
        second = daemon.name("second")
        os.mkdir(second.path)
        lock = track(os.open(name.file("mtu"), os.O_RDWR))
        fcntl.flock(lock, fcntl.LOCK_EX)

        def wait_for_lock():
            fcntl.flock(os.open(name.file("mtu"), os.O_RDWR), fcntl.LOCK_EX)
        self.waiting = {
            "reader": Child(outcome, os.read, client, 1, keep=[client]).wait_blocked("read"),
            "writer": Child(outcome, os.write, full, b"y" * 4096, keep=[full]).wait_blocked("write"),
            "dialer": Child(outcome, os.open, name.dial, os.O_RDWR)}
        daemon.wait_states(alloc_pending=1)
        self.waiting["acceptor"] = Child(outcome, os.open, second.accept, os.O_RDWR)
        daemon.wait_states(accept_pending=1)
        self.waiting["lock"] = Child(outcome, wait_for_lock).wait_blocked("flock")
        events = track(os.open(daemon.path("events"), os.O_RDONLY))
        self.waiting["events"] = Child(outcome, os.read, events, 100, keep=[events])
        self.waiting["events"].wait_blocked("read")
        self.poller = Child(_poll, other, keep=[other])
        wait_for(lambda: _sleeps_in_poll(self.poller.pid), "the poller asleep")
        self.ends = [client, other, full]

    def assert_all_end(self):
        results = {kind: child.result(5) for kind, child in self.waiting.items()}
        if isinstance(results["events"], bytes):  # the last news: that all these came to an end
            assert b"flow-" in results.pop("events")
        assert all(value in DEAD for value in results.values()), results
        assert self.poller.result(5)


def _sleeps_in_poll(pid):
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return "poll" in file.read()


def _poll(fd):
    """Waits in poll for input; what it was told."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return poller.poll(20_000)


def no_process_in_d():
    """No process that waits uninterruptibly in FUSE."""
    stuck = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and state_of(int(entry)) == "D":
            try:
                with open(f"/proc/{entry}/wchan", encoding="ascii") as file:
                    if "fuse" in (where := file.read()) or "request_wait" in where:
                        stuck.append(entry)
            except OSError:
                pass
    return not stuck


def test_every_wait_ends_when_the_daemon_is_killed(served):
    daemon, name = served
    crowd = Crowd(daemon, name)
    daemon.kill()
    crowd.assert_all_end()
    wait_for(no_process_in_d, "nobody in D")


def test_open_descriptors_fail_and_close(served):
    daemon, name = served
    client, server = name.pair()
    daemon.kill()
    for call in (lambda: os.read(client, 1), lambda: os.write(server, b"x"),
                 lambda: os.stat(name.dial), lambda: os.listdir(daemon.mount)):
        assert outcome(call) in DEAD
    poller = select.poll()
    poller.register(client, select.POLLIN)
    assert poller.poll(5000)[0][1] & (select.POLLERR | select.POLLNVAL | select.POLLHUP)
    close_tracked()


def test_a_start_detaches_the_stale_mount_and_serves_again(served):
    daemon, name = served
    crowd = Crowd(daemon, name)
    daemon.kill()
    assert is_mounted(daemon.mount)
    assert outcome(os.listdir, daemon.mount) in DEAD
    start = time.monotonic()
    daemon.start()
    record("a start after a daemon killed under a crowd serves", ms=1000 * (time.monotonic() - start))
    crowd.assert_all_end()
    os.mkdir(name.path)
    client, server = name.pair()
    os.write(client, b"again")
    assert os.read(server, 10) == b"again"
    close_tracked()
    daemon.stop()


def test_old_descriptors_do_not_reach_the_new_daemon(served):
    daemon, name = served
    client, server = name.pair()
    daemon.kill()
    daemon.start()
    os.mkdir(name.path)
    name.pair()
    for fd in (client, server):
        assert outcome(os.write, fd, b"x") in DEAD
        assert outcome(os.read, fd, 1) in DEAD
    close_tracked()
    daemon.stop()


def test_it_survives_being_killed_many_times_under_load(served):
    daemon, name = served

    def traffic():
        while True:
            fd = outcome(os.open, name.dial, os.O_RDWR)
            if isinstance(fd, int):
                outcome(os.write, fd, b"x" * 10_000)
                outcome(os.read, fd, 10_000)
                os.close(fd)

    def answers():
        while True:
            fd = outcome(os.open, name.accept, os.O_RDWR)
            if isinstance(fd, int):
                outcome(os.read, fd, 10_000)
                outcome(os.write, fd, b"y" * 10_000)
                os.close(fd)
    for _ in range(5):
        children = [Child(call) for call in (traffic, answers) * 3]
        before = int(name.stats()["flows_ever"])
        wait_for(lambda before=before: int(name.stats()["flows_ever"]) > before + 50, "traffic")
        daemon.kill()
        daemon.start()
        for child in children:
            child.kill()
            child.reap(5)
        os.mkdir(name.path)
    wait_for(no_process_in_d, "nobody in D")
    daemon.stop()


def test_two_mapped_ends_go_on_without_the_daemon(served):
    daemon, name = served
    if "passthrough yes" not in harness.read_text(daemon.path("version")):
        pytest.skip("this kernel does not map through the mount (no FUSE passthrough)")
    client, server = name.pair()
    one, two = MappedEnd(daemon, client), MappedEnd(daemon, server)
    one.at["peer_generation"], two.at["peer_generation"] = two.at["generation"], one.at["generation"]
    one.send(b"before")
    daemon.kill()
    one.send(b"after")
    assert [two.receive(), two.receive()] == [b"before", b"after"]
    two.send(b"back")
    assert one.receive() == b"back"


@pytest.mark.parametrize("way", ["copied", "placed"])
def test_mapped_programs_at_work_lose_nothing(served, way):
    """Messages of all lengths both ways, in the rings and in blocks, while the daemon is killed."""
    daemon, name = served
    if "passthrough yes" not in harness.read_text(daemon.path("version")):
        pytest.skip("this kernel does not map through the mount (no FUSE passthrough)")
    count = "2000" if harness.is_sanitized() else "20000"
    ends = [subprocess.Popen([harness.program("lib_traffic"), daemon.mount, name.name, role, "3", count,
                              "50000", "0", way], stdout=subprocess.PIPE) for role in ("accept", "dial")]
    try:
        for end in ends:
            assert end.stdout.readline() == b"mapped\n"
        daemon.kill()
        assert [end.wait(30) for end in ends] == [0, 0]
    finally:
        for end in ends:
            end.kill()
            end.wait()
            end.stdout.close()


def test_unmounting_by_hand_ends_every_wait_and_the_daemon(served):
    daemon, name = served
    crowd = Crowd(daemon, name)
    subprocess.run(["umount", "-l", daemon.mount], check=True)
    for child in crowd.waiting.values():
        child.kill()
        child.reap(5)
    crowd.poller.kill()
    crowd.poller.reap(5)
    close_tracked()
    daemon.process.wait(10)
    daemon.assert_log_clean()


def test_aborting_the_connection_ends_every_wait_and_the_daemon(served):
    daemon, name = served
    device = os.minor(os.stat(daemon.mount).st_dev)
    control = f"/sys/fs/fuse/connections/{device}/abort"
    mounted_here = not os.path.exists(control)
    if mounted_here and subprocess.run(["mount", "-t", "fusectl", "none", "/sys/fs/fuse/connections"],
                                       check=False).returncode != 0:
        pytest.skip("fusectl cannot be mounted here")
    try:
        crowd = Crowd(daemon, name)
        with open(control, "w", encoding="ascii") as file:
            file.write("1")
    finally:
        if mounted_here:
            subprocess.run(["umount", "/sys/fs/fuse/connections"], check=True)
    crowd.assert_all_end()
    daemon.process.wait(10)
    daemon.assert_log_clean()


def test_sigterm_ends_every_wait_with_an_error(served):
    daemon, name = served
    crowd = Crowd(daemon, name)
    daemon.process.send_signal(signal.SIGTERM)
    crowd.assert_all_end()
    daemon.stop()


def test_a_stopped_daemon_can_be_killed(served):
    """SIGSTOP makes requests that nobody has read yet; SIGKILL must free those who made them."""
    daemon, name = served
    daemon.process.send_signal(signal.SIGSTOP)
    waiting = [Child(outcome, os.stat, name.path + str(i)) for i in range(10)]
    for child in waiting:
        wait_for(lambda child=child: state_of(child.pid) in ("S", "D"), "waiting")
    daemon.kill()
    for child in waiting:
        assert child.result(5) in DEAD
