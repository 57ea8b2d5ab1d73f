# SPDX-License-Identifier: BSD-3-Clause
"""The life of the daemon process: ready, reloaded, told to end, killed, started again."""

import errno
import os
import signal
import socket
import subprocess
import time

import pytest
import sysc
from figures import record
from harness import is_mounted, read_text
from procs import Child, wait_blocked, wait_for
from sysc import raises_errno

ENDS = {errno.ECONNABORTED, errno.ENOTCONN, errno.ENODEV}


class Manager:
    """What systemd is to a service: the socket that it notifies."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.name = f"flowfs-test-{os.getpid()}-{id(self)}"
        self.socket.bind(f"\0{self.name}")
        self.socket.settimeout(20)

    def told(self):
        return self.socket.recv(4096).decode().splitlines()

    def wrapper(self):
        return ("env", f"NOTIFY_SOCKET=@{self.name}")


@pytest.fixture
def manager():
    made = Manager()
    yield made
    made.socket.close()


def nothing_beside(server):
    """That neither the mount nor the lock is there; the harness made the directory itself."""
    assert not is_mounted(server.mount)
    assert not os.path.exists(server.mount + ".lock")
    assert os.listdir(server.mount) == []


# --- ready ---------------------------------------------------------------------------------------
def test_ready_is_told_when_the_version_can_be_read_and_not_before(fresh_daemon, manager):
    server = fresh_daemon(wrapper=manager.wrapper()).spawn()
    told = manager.told()
    assert read_text(server.path("version")).startswith("flowfs ")
    assert told == ["READY=1", f"STATUS=Serving at {server.mount}"]
    wait_for(lambda: f"\nflowfsd: ready at {server.mount}\n" in "\n" + server.log(), "the line on stderr")
    server.stop()
    assert manager.told() == ["STOPPING=1"]


def test_the_ready_line_is_there_at_every_level(fresh_daemon):
    server = fresh_daemon("[daemon]\nlog_level = 'error'\n").start()
    wait_for(lambda: "ready" in server.log(), "the ready line")
    server.stop()
    assert server.log() == f"flowfsd: ready at {server.mount}\n"


# --- the end -------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_wait_and_leaves_nothing_behind(fresh_daemon, number):
    server = fresh_daemon().start()
    one, other = server.name("one"), server.name("other")
    os.mkdir(one.path), os.mkdir(other.path)
    client, serving = one.pair()
    os.set_blocking(serving, True)
    waits = [
        (Child(sysc.read, client, 100, keep=[client]), "read"),
        (Child(sysc.read, serving, 100, keep=[serving]), "read"),
        (Child(os.open, one.accept, os.O_RDWR), "openat"),
        (Child(os.open, other.dial, os.O_RDWR), "openat"),
        (Child(lambda: open(server.path("events"), "rb").read()), "read"),
    ]
    for child, call in waits:
        wait_blocked(child.pid, call)

    server.process.send_signal(number)
    assert server.process.wait(10) == 0
    for child, call in waits:
        assert child.finished(5), f"{call} still waits"
        try:
            assert child.result() == b""  # end of file is an end too
        except OSError as error:
            assert error.errno in ENDS, f"{call}: {error}"
    nothing_beside(server)
    server.assert_log_clean()


def test_a_directory_that_the_daemon_made_goes_with_it(fresh_daemon):
    server = fresh_daemon()
    os.rmdir(server.mount)
    server.start()
    assert os.path.exists(server.mount + ".lock")
    server.process.terminate()
    assert server.process.wait(10) == 0
    assert not os.path.exists(server.mount)
    assert not os.path.exists(server.mount + ".lock")


@pytest.mark.deadline(120)
def test_a_signal_at_any_moment_of_the_start_leaves_nothing_behind(fresh_daemon):
    server = fresh_daemon()
    ends = set()
    for step in range(40):
        server.spawn()
        time.sleep(step * 0.001)  # where in the start it lands does not matter: each must be clean
        server.process.terminate()
        ends.add(server.process.wait(10))
        nothing_beside(server)
    assert ends <= {0, -signal.SIGTERM}, "ended by the signal before anything was made, or in order"


def test_unmounting_by_hand_is_a_failure_that_cleans_up(fresh_daemon):
    server = fresh_daemon().start()
    subprocess.run(["umount", server.mount], check=True)
    assert server.process.wait(10) == 1
    assert "the mount has gone" in server.log()
    nothing_beside(server)


def test_sigpipe_is_ignored(fresh_daemon):
    server = fresh_daemon().start()
    server.process.send_signal(signal.SIGPIPE)
    assert read_text(server.path("version"))
    server.stop()


# --- after a kill --------------------------------------------------------------------------------
def test_the_mount_of_a_killed_daemon_is_detached_and_served_again(fresh_daemon):
    server = fresh_daemon().start()
    os.mkdir(server.path("names", "gone"))
    server.kill()
    assert is_mounted(server.mount)
    with raises_errno(*ENDS):
        os.statvfs(server.mount)

    began = time.monotonic()
    server.start()
    record("a start after a killed daemon serves", ms=1000 * (time.monotonic() - began))
    assert os.listdir(server.path("names")) == []
    assert "detached the mount of a dead daemon" in server.log()
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert sum(line.split()[4] == server.mount for line in file) == 1
    server.stop()
    nothing_beside(server)


def test_those_who_waited_for_a_killed_daemon_are_let_go(fresh_daemon):
    server = fresh_daemon().start()
    name = server.name("n")
    os.mkdir(name.path)
    child = Child(os.open, name.accept, os.O_RDWR)
    wait_blocked(child.pid, "openat")
    server.kill()
    with raises_errno(*ENDS):
        child.result()


def test_a_living_daemon_is_refused_and_not_disturbed(fresh_daemon):
    server = fresh_daemon().start()
    os.mkdir(server.path("names", "kept"))
    second = fresh_daemon(mount=server.mount).spawn()
    assert second.process.wait(10) == 1
    assert f"another flowfsd (pid {server.process.pid}) serves this mount point" in second.log()
    assert os.listdir(server.path("names")) == ["kept"]
    server.stop()
    nothing_beside(server)


def test_a_stopped_daemon_is_alive(fresh_daemon):
    server = fresh_daemon().start()
    server.process.send_signal(signal.SIGSTOP)
    try:
        second = fresh_daemon(mount=server.mount).spawn()
        assert second.process.wait(10) == 1, "it must not touch the mount, which does not answer"
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert read_text(server.path("version"))
    server.stop()


def test_a_foreign_mount_is_refused(fresh_daemon):
    server = fresh_daemon()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "disk", server.mount], check=True)
    server.spawn()
    assert server.process.wait(10) == 1
    assert f"{server.mount}: disk (tmpfs) is mounted there already" in server.log()
    assert is_mounted(server.mount)
    subprocess.run(["umount", server.mount], check=True)
    nothing_beside(server)


# --- reload --------------------------------------------------------------------------------------
def reload(server, text):
    """Writes the configuration, sends SIGHUP, and waits until the log says what became of it."""
    with open(server.config_path, "w", encoding="utf-8") as file:
        file.write(text)
    before = len(server.log())
    server.process.send_signal(signal.SIGHUP)

    def reloaded():
        said = server.log()[before:]
        return said if "the configuration names=" in said or "kept the old" in said else None
    return wait_for(reloaded, "reload")


def test_a_reload_makes_names_and_changes_defaults_and_limits(fresh_daemon):
    server = fresh_daemon("[[name]]\nname = 'first'\n").start()
    os.mkdir(server.path("names", "before"))
    reload(server, "[defaults]\nmtu = 1000\n[limits]\nnames = 3\n"
                   "[[name]]\nname = 'first'\n[[name]]\nname = 'second'\nuser = '61001'\nmode = '0700'\n")
    os.mkdir(server.path("names", "after"))
    assert set(os.listdir(server.path("names"))) == {"first", "second", "before", "after"}
    assert server.name("before").get("mtu") == "917504"
    assert server.name("after").get("mtu") == "1000"
    status = os.stat(server.path("names", "second"))
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (61001, 61001, 0o700)

    def make_four():
        for number in range(4):
            os.mkdir(server.path("names", f"mine{number}"))
    with raises_errno(errno.EDQUOT):
        Child(make_four, uid=61002).result()
    server.stop()


def test_a_reload_gives_a_declared_name_its_changed_settings_only(fresh_daemon):
    one = "[[name]]\nname = 'one'\nbacklog = 5\n"
    server = fresh_daemon(one + "[[name]]\nname = 'two'\nmtu = 100\n").start()
    os.mkdir(server.path("names", "three"))
    server.name("one").set("backlog", 7)
    server.name("two").set("backlog", 8)
    reload(server, one + "[[name]]\nname = 'two'\nmtu = 200\n[[name]]\nname = 'three'\nmtu = 3\n")
    assert server.name("one").get("backlog") == "7", "its declaration has not changed"
    assert (server.name("two").get("mtu"), server.name("two").get("backlog")) == ("200", "128")
    assert server.name("three").get("mtu") == "917504", "a user made it"
    server.stop()


def test_a_reload_changes_the_rate_of_requests(fresh_daemon):
    server = fresh_daemon("[limits]\nrequests_per_second = 'max'\n".replace("'", '"')).start()
    name = server.name("n")
    os.mkdir(name.path)

    def seconds_of_reading():
        began = time.monotonic()
        for _ in range(100):
            with open(name.file("backlog"), "rb") as file:
                file.read()
        return time.monotonic() - began
    assert Child(seconds_of_reading, uid=61002).result() > 0
    reload(server, "[limits]\nrequests_per_second = 100\n")
    # At least 200 calls, of which the first 10 may come at once.
    assert Child(seconds_of_reading, uid=61002).result() > 1.5
    server.stop()


def test_a_reload_of_a_bad_file_keeps_the_old_and_tells_each_problem(fresh_daemon):
    server = fresh_daemon("[defaults]\nmtu = 500\n").start()
    said = reload(server, "[defaults]\nmtu = 0\ncolour = 'red'\n[[name]]\nname = 'half'\n")
    assert f"{server.config_path}:2: defaults.mtu: 0 is out of range; allowed: 1 to daemon.longest_message" in said
    assert f"{server.config_path}:3: defaults.colour: unknown key" in said
    assert "kept the old configuration problems=2" in said
    os.mkdir(server.path("names", "n"))
    assert os.listdir(server.path("names")) == ["n"]
    assert server.name("n").get("mtu") == "500"

    os.unlink(server.config_path)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "kept the old configuration problems=1" in server.log(), "the missing file told")
    server.stop()


def test_a_reload_is_told_to_the_manager_and_changes_the_level_of_the_log(fresh_daemon, manager):
    server = fresh_daemon(wrapper=manager.wrapper()).spawn()
    manager.told()
    reload(server, "[daemon]\nlog_level = 'notice'\n")
    told = manager.told()
    assert told[0] == "RELOADING=1" and told[1].startswith("MONOTONIC_USEC=")
    assert manager.told() == ["READY=1"]
    server.stop()
    assert manager.told() == ["STOPPING=1"]
    assert " notice ending signal=15" in server.log()
    assert " info stopped" not in server.log()


def test_what_needs_a_new_start_is_named(fresh_daemon):
    server = fresh_daemon().start()
    said = reload(server, "[daemon]\nmount = '/run/elsewhere'\nhot_ring = 4096\ngroup = 'others'\n")
    for key in ("mount", "hot_ring", "group"):
        assert f"daemon.{key} changes at the next start" in said
    assert is_mounted(server.mount)
    server.stop()


@pytest.mark.deadline(90)
def test_a_hundred_reloads_leave_no_memory_and_no_descriptor(fresh_daemon):
    server = fresh_daemon().start()
    reload(server, "[defaults]\nmtu = 7\n")
    before = server.descriptors()
    for number in range(100):
        reload(server, f"[defaults]\nmtu = {number + 1}\n")
    server.wait_descriptors(before)
    os.mkdir(server.path("names", "n"))
    assert server.name("n").get("mtu") == "100"
    server.stop()


def test_an_end_during_reloads_is_clean(fresh_daemon):
    server = fresh_daemon().start()
    for _ in range(20):
        server.process.send_signal(signal.SIGHUP)
    server.stop()
    nothing_beside(server)
