# SPDX-License-Identifier: BSD-3-Clause
"""What the design stands on: facts of kernel and daemon that no other file tries."""

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import subprocess
import time

import pytest
import wire
from fixtures import need_mapping
from harness import close, track
from procs import Child, wait_for

MANY_NAMES = 2_000


# --- one inode has one backing -------------------------------------------------------------------

@pytest.fixture
def tx(daemon, name):
    """The path of a flow's segment; the flow lives as long as the test."""
    need_mapping(daemon)
    client, _ = name.pair()
    return daemon.path("flows", str(wire.flow_id(client)), "tx")


def inode(fd):
    found = os.fstat(fd)
    return found.st_ino, found.st_size


def test_a_segment_is_open_several_times_over_at_once(tx):
    """A second backing for the same inode would be EIO or EBUSY."""
    fds = [track(os.open(tx, flags)) for flags in (os.O_RDWR, os.O_RDONLY, os.O_RDWR) * 5]
    assert len({inode(fd) for fd in fds}) == 1
    close(*fds[1:])
    again = track(os.open(tx, os.O_RDWR))
    assert inode(again) == inode(fds[0])


def test_a_segment_opens_again_after_the_last_of_its_opens(tx):
    """The backing went with the last open, and a new one is registered."""
    for _ in range(20):
        fds = [os.open(tx, os.O_RDWR) for _ in range(3)]
        assert all(size > 4096 for _, size in map(inode, fds))
        for fd in fds:
            os.close(fd)


# --- idle ----------------------------------------------------------------------------------------

def switches(pid):
    """Context switches of each thread: a thread that never runs never switches."""
    counts = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            counts[int(task)] = sum(int(line.split()[1]) for line in file
                                    if "ctxt_switches:" in line)
    return counts


def test_an_idle_daemon_makes_no_wake_ups(daemon, name):
    """With names, flows and parked requests there, and nothing to do for any of them."""
    pairs = [name.pair() for _ in range(10)]
    for client, _ in pairs:
        child = Child(os.read, client, 1, keep=[client])
        wait_for(lambda pid=child.pid: _waits(pid), "a parked read")
    before = settle(daemon.process.pid)
    time.sleep(1)
    assert switches(daemon.process.pid) == before


def _waits(pid):
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return file.read() == "request_wait_answer"


def settle(pid):
    """The counts once what was under way is done: the same for a fifth of a second."""
    last = [None, 0.0]

    def is_quiet():
        now = switches(pid)
        if now != last[0]:
            last[:] = now, time.monotonic()
        return time.monotonic() - last[1] > 0.2
    wait_for(is_quiet, "a daemon with nothing to do")
    return last[0]


# --- directories ---------------------------------------------------------------------------------

@pytest.mark.deadline(120)
def test_a_long_listing_has_each_of_many_names_once(daemon):
    names = daemon.path("names")
    modes = {f"many{i:04}": (0o700, 0o755, 0o770, 0o711)[i % 4] for i in range(MANY_NAMES)}
    for entry, mode in modes.items():
        os.mkdir(os.path.join(names, entry))
        os.chmod(os.path.join(names, entry), mode)
    listed = subprocess.run(["ls", "-l", names], check=True, capture_output=True, text=True)
    lines = [line.split() for line in listed.stdout.splitlines()[1:]]
    shown = [line[-1] for line in lines]
    assert len(shown) == len(set(shown)) == MANY_NAMES
    expected = {entry: stat.filemode(stat.S_IFDIR | mode) for entry, mode in modes.items()}
    assert {line[-1]: line[0].rstrip("+.") for line in lines} == expected
    with os.scandir(names) as entries:  # the types come with the listing
        assert sum(entry.is_dir(follow_symlinks=False) for entry in entries) == MANY_NAMES


# --- what the kernel remembers is never out of date ----------------------------------------------

def test_a_mode_changed_by_one_process_is_seen_at_once_by_another(daemon, name):
    """Though attributes are cached for a second: every path to the folder, and to its files."""
    alias = daemon.path("names", name.name + "-alias")
    os.symlink(name.name, alias)
    paths = [name.path, alias, name.file("backlog"), os.path.join(alias, "backlog")]

    def seen():
        return [stat.S_IMODE(os.stat(path).st_mode) for path in paths]
    for folder, file in ((0o700, 0o600), (0o755, 0o644), (0o711, 0o640)):
        Child(seen).result()  # now the kernel has them
        Child(os.chmod, alias, folder).result()
        Child(os.chmod, os.path.join(alias, "backlog"), file).result()
        assert Child(seen).result() == seen() == [folder, folder, file, file]


def test_a_flow_that_was_looked_at_is_gone_at_once(daemon, name):
    """The folder is cached by then, and everything in it that was asked for."""
    for _ in range(50):
        client, server = name.pair()
        folders = [daemon.path("flows", str(wire.flow_id(fd))) for fd in (client, server)]
        for folder in folders:
            for entry in os.listdir(folder):
                os.stat(os.path.join(folder, entry))
        close(client, server)
        # RELEASE comes after close() has returned; what it removes, it removes for everybody.
        wait_for(lambda: not os.listdir(daemon.path("flows")), "no flows")
        for folder in folders:
            with pytest.raises(FileNotFoundError):
                os.stat(folder)
            with pytest.raises(FileNotFoundError):
                os.stat(os.path.join(folder, "state"))


# --- opens that no open(2) asked for -------------------------------------------------------------

STRANGER = 61071
FILE_GETATTR = 468  # file_getattr(2), Linux 6.17
FS_IOC_GETFLAGS = 0x80086601


def file_getattr(path):
    """The errno of file_getattr(2), which makes the kernel open the file without asking for leave."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(24)
    ctypes.set_errno(0)
    libc.syscall(FILE_GETATTR, -100, path.encode(), answer, len(answer), 0)
    return ctypes.get_errno()


def test_asking_for_file_attributes_opens_no_flow(daemon, name):
    for path in (name.accept, name.dial):
        child = Child(file_getattr, path, uid=STRANGER)
        assert child.result(10) in (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EACCES)
        assert not daemon.flow_states()
    client, server = name.pair()
    for fd in (client, server):
        with pytest.raises(OSError) as caught:
            fcntl.ioctl(fd, FS_IOC_GETFLAGS, b"\0" * 8)
        assert caught.value.errno in (errno.EOPNOTSUPP, errno.ENOTTY)
    os.write(client, b"still there")
    assert os.read(server, 100) == b"still there"
    assert len(daemon.flow_states()) == 2


def test_a_listing_goes_on_where_it_was_while_names_come_and_go(daemon):
    names = [f"list{number:04}" for number in range(300)]
    for name in names:
        os.mkdir(daemon.path("names", name))
    try:
        seen = []
        with os.scandir(daemon.path("names")) as listing:
            for entry in listing:
                if len(seen) == 10:
                    os.rmdir(daemon.path("names", names[0]))
                    os.mkdir(daemon.path("names", "list-late"))
                seen.append(entry.name)
        kept = [name for name in seen if name.startswith("list0")]
        assert len(set(seen)) == len(seen), "an entry came twice"
        assert set(kept) >= set(names[1:]), "an entry was missed"
    finally:
        for name in [*names, "list-late"]:
            with contextlib.suppress(OSError):
                os.rmdir(daemon.path("names", name))
