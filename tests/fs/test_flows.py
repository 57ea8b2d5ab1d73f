# SPDX-License-Identifier: BSD-3-Clause
"""flows/ID: the directory of one end, its files, modes and verbs, and the ioctl that names it."""

import errno
import fcntl
import os
import stat
import subprocess

import harness
import pytest
import wire
from harness import close, read_text, read_values, track, write_text
from procs import Child, as_user, sh, wait_for
from sysc import outcome, raises_errno

ALICE, BOB = 61001, 61002
MODES = {"data": 0o600, "state": 0o400, "peer": 0o400, "ctl": 0o200, "stats": 0o400,
         "key": 0o400}
MAPPED = {"tx": 0o600, "rx": 0o400}  # what they are is shown in test_mapped.py


@pytest.fixture
def flow(daemon, name):
    """(client, server, directory of the client's end, of the server's)."""
    client, server = name.pair()
    return (client, server, *(daemon.path("flows", str(wire.flow_id(fd))) for fd in (client, server)))


def state(folder):
    return read_text(os.path.join(folder, "state"))


# --- identity ----------------------------------------------------------------------------------

def test_each_end_has_an_id_and_a_directory_of_its_own(daemon, flow):
    client, server, *_ = flow
    ids = {wire.flow_id(client), wire.flow_id(server)}
    assert len(ids) == 2 and 0 not in ids
    assert {int(entry) for entry in os.listdir(daemon.path("flows"))} == ids


def test_ids_are_not_used_twice(daemon, name):
    seen = set()
    for _ in range(50):
        ends = name.pair()
        ids = {wire.flow_id(fd) for fd in ends}
        assert not ids & seen
        seen |= ids
        close(*ends)
    wait_for(lambda: not daemon.flow_states(), "no flows")


def test_a_pending_end_has_an_id(daemon, name):
    fd = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    assert state(daemon.path("flows", str(wire.flow_id(fd)))) == "alloc-pending"


def test_the_ioctl_is_refused_elsewhere(daemon, name):
    with open(daemon.path("version"), "rb") as file, raises_errno(errno.ENOTTY, errno.EINVAL):
        wire.flow_id(file.fileno())


def test_an_unknown_ioctl_is_refused(flow):
    with raises_errno(errno.ENOTTY):
        fcntl.ioctl(flow[0], 0x5401, bytearray(64))


def test_the_ioctl_works_with_a_read_only_descriptor(name):
    client, server = name.pair(client=os.O_RDONLY, server=os.O_WRONLY)
    assert wire.flow_id(client) != wire.flow_id(server)


def test_the_directory_has_its_files_and_modes(flow):
    for folder in flow[2:]:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o500
        found = {file: stat.S_IMODE(os.stat(os.path.join(folder, file)).st_mode)
                 for file in os.listdir(folder)}
        assert {**found, **MAPPED} == {**MODES, **MAPPED}


def test_the_directory_belongs_to_the_opener(daemon, open_name):
    def dial():
        fd = os.open(open_name.dial, os.O_RDWR)
        os.read(fd, 1)
    Child(dial, uid=ALICE, gid=BOB)
    server = open_name.open_accept()
    peer = read_values(daemon.path("flows", str(wire.flow_id(server)), "peer"))
    folder = daemon.path("flows", peer["flow"])
    for node in [folder, *(os.path.join(folder, file) for file in MODES)]:
        assert (os.stat(node).st_uid, os.stat(node).st_gid) == (ALICE, BOB)


def test_strangers_see_nothing_of_an_end(daemon, flow):
    with raises_errno(errno.EACCES):
        as_user(ALICE, os.listdir, flow[2])
    for file in MODES:
        with raises_errno(errno.EACCES):
            as_user(ALICE, os.open, os.path.join(flow[2], file), os.O_RDONLY)
    assert as_user(ALICE, os.listdir, daemon.path("flows"))


def test_nothing_can_be_made_or_removed_there(daemon, flow):
    with raises_errno(errno.EPERM, errno.EACCES):
        os.rmdir(flow[2])
    with raises_errno(errno.EPERM, errno.EACCES):
        os.unlink(os.path.join(flow[2], "data"))
    with raises_errno(errno.EPERM, errno.EACCES):
        os.rename(flow[2], daemon.path("flows", "4711"))


# --- life --------------------------------------------------------------------------------------

def test_the_directory_goes_with_the_descriptor(daemon, flow):
    client, _, folder, other = flow
    close(client)
    wait_for(lambda: not os.path.exists(folder), "its directory gone")
    assert state(other) == "dealloc-pending"


def test_the_directory_goes_at_once_also_when_it_was_looked_at(daemon, name):
    for _ in range(50):
        client, server = name.pair()
        folder = daemon.path("flows", str(wire.flow_id(client)))
        state(folder)
        os.listdir(folder)
        close(client)
        # RELEASE is asynchronous to close(2), the answer to any later request is not.
        wait_for(lambda: os.path.basename(folder) not in os.listdir(daemon.path("flows")), "gone")
        with raises_errno(errno.ENOENT):
            os.stat(folder)
        with raises_errno(errno.ENOENT):
            os.stat(os.path.join(folder, "state"))
        close(server)


def test_states_follow_a_flows_life(daemon, name):
    server = name.open_accept(os.O_RDWR | os.O_NONBLOCK)
    folder = daemon.path("flows", str(wire.flow_id(server)))
    assert state(folder) == "accept-pending"
    client = name.open_dial()
    assert state(folder) == "allocated"
    close(client)
    wait_for(lambda: state(folder) == "dealloc-pending", "dealloc-pending")
    write_text(os.path.join(folder, "ctl"), "close")
    assert state(folder) == "deallocated"


def test_an_expired_pending_dial_is_deallocated(daemon, name):
    name.set("dial_timeout", 1)
    client = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    folder = daemon.path("flows", str(wire.flow_id(client)))
    wait_for(lambda: state(folder) == "deallocated", "deallocated")


def test_a_directory_held_open_does_not_hold_the_end(daemon, flow):
    held = track(os.open(flow[2], os.O_RDONLY | os.O_DIRECTORY))
    close(flow[0])
    assert os.read(flow[1], 1) == b""
    with raises_errno(errno.ENOENT, errno.ESTALE):
        os.open("state", os.O_RDONLY, dir_fd=held)


# --- data --------------------------------------------------------------------------------------

def test_data_is_the_same_end(flow):
    client, server, folder, _ = flow
    data = track(os.open(os.path.join(folder, "data"), os.O_RDWR))
    os.write(data, b"by data")
    assert os.read(server, 100) == b"by data"
    os.write(server, b"answer")
    assert os.read(data, 100) == b"answer"
    assert wire.flow_id(data) == wire.flow_id(client)


def test_data_does_not_prolong_the_flow(flow):
    client, server, folder, _ = flow
    data = track(os.open(os.path.join(folder, "data"), os.O_RDWR))
    close(client)
    assert os.read(server, 10) == b""
    with raises_errno(errno.EPIPE, errno.ECONNABORTED, errno.ENOENT, errno.ESHUTDOWN):
        os.write(data, b"x")


def test_closing_data_leaves_the_flow(flow):
    for _ in range(3):
        os.close(os.open(os.path.join(flow[2], "data"), os.O_RDWR))
    os.write(flow[0], b"alive")
    assert os.read(flow[1], 10) == b"alive"


def test_a_reader_waiting_in_data_sees_the_end(flow):
    client, server, folder, _ = flow

    def read_data():
        return os.read(os.open(os.path.join(folder, "data"), os.O_RDONLY), 10)
    reader = Child(outcome, read_data).wait_blocked("read")
    close(client)
    assert isinstance(reader.result(), (bytes, str))


def test_the_shell_speaks_through_data(flow):
    sh(f"echo from the shell > {flow[2]}/data")
    assert os.read(flow[1], 100) == b"from the shell\n"


# --- peer, ctl, stats --------------------------------------------------------------------------

def test_peer_tells_who_is_there(daemon, open_name):
    def dial():
        fd = os.open(open_name.dial, os.O_RDWR)
        os.write(fd, b"%d" % wire.flow_id(fd))
        os.read(fd, 1)
    child = Child(dial, uid=ALICE, gid=BOB)
    server = open_name.open_accept()
    flow = os.read(server, 100).decode()
    peer = read_values(daemon.path("flows", str(wire.flow_id(server)), "peer"))
    assert peer["uid"] == str(ALICE) and peer["gid"] == str(BOB) and peer["pid"] == str(child.pid)
    assert peer["flow"] == flow and peer["name"] == open_name.name
    assert "layer" in peer


def test_a_pending_end_has_no_peer_to_tell_of(daemon, name):
    fd = name.open_dial(os.O_RDWR | os.O_NONBLOCK)
    peer = read_values(daemon.path("flows", str(wire.flow_id(fd)), "peer"))
    assert not set(peer) & {"uid", "gid", "pid", "flow"}


def test_stats_count_both_ways(flow):
    client, server, folder, other = flow
    for size in (10, 20, 30):
        os.write(client, b"x" * size)
        os.read(server, 100)
    os.write(server, b"y" * 5)
    os.read(client, 100)
    mine, theirs = ({key: int(value) for key, value in
                     read_values(os.path.join(where, "stats")).items()} for where in (folder, other))
    assert {3, 60, 1, 5} <= set(mine.values()) and {3, 60, 1, 5} <= set(theirs.values())
    assert any("copies" in key for key in mine)


def test_stats_count_waits(flow):
    client, server, folder, _ = flow
    reader = Child(os.read, client, 9, keep=[client]).wait_blocked("read")
    os.write(server, b"x")
    reader.result()
    stats = read_values(os.path.join(folder, "stats"))
    assert (stats["waits"], stats["wake_ups"]) == ("1", "1")


def test_an_interrupted_wait_is_no_wake_up(flow):
    client, _, folder, _ = flow
    reader = Child(os.read, client, 9, keep=[client]).wait_blocked("read")
    reader.kill()
    reader.reap()
    stats = read_values(os.path.join(folder, "stats"))
    assert (stats["waits"], stats["wake_ups"]) == ("1", "0")


def test_stats_count_what_was_never_read(flow):
    client, server, folder, _ = flow
    for _ in range(3):
        os.write(client, b"x")
    os.read(server, 1)
    close(server)
    wait_for(lambda: read_values(os.path.join(folder, "stats"))["drops"] == "2", "two drops")


@pytest.mark.parametrize("bad", ["", "x", "shutdown", "shutdown both", "SHUTDOWN READ", "close now",
                                 "close close", "shutdown read write", "\0"])
def test_an_unknown_verb_is_refused_and_changes_nothing(flow, bad):
    fd = track(os.open(os.path.join(flow[2], "ctl"), os.O_WRONLY))
    if bad:
        with raises_errno(errno.EINVAL):
            os.write(fd, bad.encode())
    os.write(flow[0], b"alive")
    assert os.read(flow[1], 10) == b"alive"


@pytest.mark.parametrize("verb", ["shutdown write", "shutdown read", "close", " close\n"])
def test_verbs_may_be_repeated(flow, verb):
    for _ in range(3):
        try:
            write_text(os.path.join(flow[2], "ctl"), verb)
        except OSError as error:
            assert error.errno in (errno.ENOENT, errno.EPIPE)


def test_ctl_cannot_be_read(daemon, flow):
    with raises_errno(errno.EACCES, errno.EINVAL, errno.EPERM, errno.EBADF):
        os.read(track(os.open(os.path.join(flow[2], "ctl"), os.O_RDONLY)), 10)


def test_the_owner_uses_his_own_files(daemon, open_name):
    def dial():
        fd = os.open(open_name.dial, os.O_RDWR)
        folder = daemon.path("flows", str(wire.flow_id(fd)))
        found = {file: outcome(read_text, os.path.join(folder, file))
                 for file in ("state", "peer", "stats")}
        write_text(os.path.join(folder, "ctl"), "shutdown write")
        return found
    child = Child(dial, uid=ALICE)
    server = open_name.open_accept()
    found = child.result()
    assert found["state"] == "allocated"
    assert "uid 0" in found["peer"]
    assert os.read(server, 10) == b""


def test_cat_of_the_files_works(flow):
    out = sh(f"cat {flow[2]}/state {flow[2]}/peer {flow[2]}/stats").out
    assert out.startswith("allocated\n") and out.endswith("\n")


def test_grep_r_over_state_files_changes_nothing(daemon, flow):
    """A curious administrator: every readable file but data, which would wait."""
    sh(f"grep -r --exclude=data . {daemon.path('flows')} || true")
    os.write(flow[0], b"alive")
    assert os.read(flow[1], 10) == b"alive"


def test_hundreds_of_flows_are_listed_and_gone(daemon, name):
    pairs = [name.pair() for _ in range(200)]
    assert len(os.listdir(daemon.path("flows"))) == 400
    for ends in pairs:
        close(*ends)
    wait_for(lambda: not os.listdir(daemon.path("flows")), "no flows")


def test_flowctl_id_names_a_shells_descriptor(daemon, name):
    if not os.path.exists(harness.binary("flowctl")):
        pytest.skip("flowctl is not built")
    client, _ = name.pair()
    out = subprocess.run([harness.binary("flowctl"), "id", str(client)], pass_fds=[client],
                         capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(wire.flow_id(client))
