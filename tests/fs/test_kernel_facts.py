# SPDX-License-Identifier: BSD-3-Clause
"""Facts about the kernel that the design stands on: open flags, sysctls, the freezer, FUSE's ring.

Some set a value of the whole machine for a moment, so this file runs alone.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import signal
import subprocess
import tempfile

import pytest
import sysc
from fixtures import long_run
from harness import close, is_mounted, program, read_text, set_nonblock, track, write_text
from procs import Child, as_user, is_blocked, wait_for
from sysc import outcome, raises_errno

ALICE, BOB = 61401, 61402


@contextlib.contextmanager
def setting(path, value):
    """A value of the kernel's, put back afterwards; a skip where it cannot be set."""
    try:
        before = read_text(path)
        write_text(path, value)
    except OSError as error:
        pytest.skip(f"{path} cannot be set here: {error.strerror}")
    try:
        yield
    finally:
        write_text(path, before)


# --- open flags ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def flags_tree():
    """A small filesystem whose files are each opened with one combination of flags."""
    with tempfile.TemporaryDirectory(prefix="flowfs-facts-", dir="/run") as folder:
        process = subprocess.Popen([program("passthrough_facts"), folder], stdout=subprocess.PIPE,
                                   text=True, preexec_fn=lambda: sysc.set_pdeathsig(signal.SIGTERM))
        try:
            wait_for(lambda: is_mounted(folder), "mounted")
            os.stat(folder)  # once this is answered the handshake is over
            if process.stdout.readline() != "passthrough yes\n":
                pytest.skip("this kernel does not map through the mount (no FUSE passthrough)")
            yield folder
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            while is_mounted(folder):
                subprocess.run(["umount", "-l", folder], check=True)


def open_flags(tree, name):
    return track(os.open(os.path.join(tree, name), os.O_RDWR))


def test_passthrough_maps_and_is_shared_by_every_open(flags_tree):
    one, two = open_flags(flags_tree, "passthrough"), open_flags(flags_tree, "passthrough")
    with mmap.mmap(one, 4096) as first, mmap.mmap(two, 4096) as second:
        first[:5] = b"hello"
        assert second[:5] == b"hello"


def test_a_stream_cannot_be_mapped(flags_tree):
    fd = open_flags(flags_tree, "stream")
    with raises_errno(errno.ENODEV):
        mmap.mmap(fd, 4096)


@pytest.mark.parametrize("other", ["stream", "nonseekable"])
def test_passthrough_with_another_kind_of_file_fails_the_open(flags_tree, other):
    """So message files and mapped files are different files."""
    with raises_errno(errno.EIO):
        open_flags(flags_tree, f"passthrough-{other}")


def test_an_inode_has_one_backing_at_a_time(flags_tree):
    """So a backing is registered once and shared by the opens of its inode."""
    first = open_flags(flags_tree, "passthrough-other")
    with raises_errno(errno.EIO, errno.EBUSY):
        open_flags(flags_tree, "passthrough-other")
    close(first)
    # The kernel forgets the backing when it has handled the close.
    wait_for(lambda: isinstance(outcome(open_flags, flags_tree, "passthrough-other"), int),
             "an open with a new backing after the last with the old one")


# --- aliases -------------------------------------------------------------------------------------

@pytest.mark.parametrize("protected", ["0", "1"])
def test_an_alias_of_another_user(daemon, open_name, protected):
    """names/ is sticky and everybody's: with protection others do not follow the link itself, but
    reach what is behind it."""
    alias = daemon.path("names", "alias")
    as_user(ALICE, os.symlink, open_name.name, alias)
    with setting("/proc/sys/fs/protected_symlinks", protected):
        for uid in (ALICE, BOB, 0):
            found = as_user(uid, outcome, os.listdir, alias)
            refused = protected == "1" and uid != ALICE
            assert found == "EACCES" if refused else set(found) >= {"accept", "dial"}, uid
            server = Child(os.open, os.path.join(alias, "accept"), os.O_RDWR, uid=uid)
            assert as_user(uid, os.open, os.path.join(alias, "dial"), os.O_RDWR) >= 0
            assert server.result() >= 0
            assert as_user(uid, read_text, os.path.join(alias, "mtu")) == "917504"


def test_an_alias_of_the_owner_of_names_is_followed_by_all(daemon, name):
    """names/ is root's, so root's aliases are for everybody."""
    os.chmod(name.path, 0o755)
    os.symlink(name.name, daemon.path("names", "alias"))
    with setting("/proc/sys/fs/protected_symlinks", "1"):
        assert "dial" in as_user(BOB, os.listdir, daemon.path("names", "alias"))


# --- the kernel's limit for requests -------------------------------------------------------------

def park_one_of_each(daemon):
    """Calls that wait, by what they are; none of them will get what it waits for.

    A lock is not told EINTR, which the kernel would take for a restart.
    """
    name, second = daemon.name("n"), daemon.name("second")
    for made in (name, second):
        os.mkdir(made.path)
    client, _ = name.pair()
    full, _ = name.set("depth", 4096).pair(nonblock=True)
    os.write(full, b"x" * 4096)
    set_nonblock(full, False)
    name.set("dial_timeout", "max")
    lock = track(os.open(name.file("mtu"), os.O_RDWR))
    fcntl.flock(lock, fcntl.LOCK_EX)

    def wait_for_lock():
        fcntl.flock(os.open(name.file("mtu"), os.O_RDWR), fcntl.LOCK_EX)
    return {"lock": Child(outcome, wait_for_lock),
            "read": Child(outcome, sysc.read, client, 1, keep=[client]),
            "write": Child(outcome, sysc.write, full, b"y", keep=[full]),
            "dial": Child(outcome, sysc.open_once, name.dial, os.O_RDWR),
            "accept": Child(outcome, sysc.open_once, second.accept, os.O_RDWR)}


@pytest.mark.parametrize("sysctl", ["default_request_timeout", "max_request_timeout"])
def test_parked_requests_end_before_the_kernel_would_abort_the_mount(fresh_daemon, sysctl):
    daemon = fresh_daemon()
    with setting(f"/proc/sys/fs/fuse/{sysctl}", "2"):
        daemon.start()
    parked = park_one_of_each(daemon)
    ends = {kind: child.result(30) for kind, child in parked.items()}
    assert ends == {**dict.fromkeys(parked, "EINTR"), "lock": "ENOLCK"}
    client, server = daemon.name("second").pair()
    os.write(client, b"still served")
    assert os.read(server, 100) == b"still served"
    close(client, server)
    daemon.stop()


@pytest.mark.deadline(120)
def test_the_mount_survives_what_waits_longer_than_the_kernels_limit(fresh_daemon):
    """The kernel looks every 15 s for requests older than the limit, which it rounds up to that."""
    if not long_run():
        pytest.skip("takes 50 s: FLOWFS_LONG=1")
    daemon = fresh_daemon()
    with setting("/proc/sys/fs/fuse/default_request_timeout", "15"):
        daemon.start()
    name = daemon.name("n")
    os.mkdir(name.path)
    client, server = name.pair()

    def read_until_there():
        interrupted = 0
        while True:
            try:
                return interrupted, sysc.read(client, 100)
            except InterruptedError:
                interrupted += 1
    reader = Child(read_until_there, keep=[client])
    assert not reader.finished(50)
    os.write(server, b"late")
    interrupted, message = reader.result()
    assert interrupted >= 2 and message == b"late"
    close(client, server)
    daemon.stop()


# --- the freezer ---------------------------------------------------------------------------------

class Freezer:
    """A control group that can be frozen, of either version."""

    def __init__(self, kind):
        self.kind = kind
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            points = [line.split()[4] for line in file if self._serves(line.rstrip("\n"))]
        if not points:
            pytest.skip(f"no {kind} freezer is mounted here")
        self.folder = os.path.join(points[0], f"flowfs-test-{os.getpid()}")
        try:
            os.mkdir(self.folder)
        except OSError as error:
            pytest.skip(f"{self.folder} cannot be made: {error.strerror}")

    def _serves(self, line):
        kind, _, options = line.split(" - ")[1].split(" ", 2)
        return kind == "cgroup2" if self.kind == "v2" else (
            kind == "cgroup" and "freezer" in options.split(" ")[-1].split(","))

    def set_frozen(self, frozen):
        if self.kind == "v2":
            write_text(os.path.join(self.folder, "cgroup.freeze"), "1" if frozen else "0")
        else:
            write_text(os.path.join(self.folder, "freezer.state"), "FROZEN" if frozen else "THAWED")

    def is_frozen(self):
        if self.kind == "v2":
            return "frozen 1" in read_text(os.path.join(self.folder, "cgroup.events"))
        return read_text(os.path.join(self.folder, "freezer.state")) == "FROZEN"

    def take(self, pid):
        write_text(os.path.join(self.folder, "cgroup.procs"), str(pid))

    def remove(self):
        self.set_frozen(False)
        procs = os.path.join(self.folder, "cgroup.procs")
        wait_for(lambda: not read_text(procs), "the group empty")
        os.rmdir(self.folder)


@pytest.fixture(params=["v1", "v2"])
def freezer(request):
    made = Freezer(request.param)
    yield made
    made.set_frozen(False)
    for child in list(Child.living):
        child.kill()
        child.reap()
    made.remove()


def test_a_parked_reader_freezes_and_goes_on(name, freezer):
    """A request that ignored FUSE_INTERRUPT would keep the group from freezing, and the machine from
    suspending. After it the read has ended with EINTR, or waits again as if nothing had been."""
    client, server = name.pair()
    reader = Child(outcome, sysc.read, client, 100, keep=[client]).wait_blocked("read")
    freezer.take(reader.pid)
    freezer.set_frozen(True)
    wait_for(freezer.is_frozen, "frozen")
    os.write(server, b"while it was frozen")
    freezer.set_frozen(False)
    assert reader.result() in ("EINTR", b"while it was frozen")


def test_what_was_interrupted_by_the_freezer_is_not_lost(name, freezer):
    """Only one of the two reads gets the message: the parked one, or the next."""
    client, server = name.pair()

    def read_and_retry():
        while (found := outcome(sysc.read, client, 100)) == "EINTR":
            pass
        return found
    reader = Child(read_and_retry, keep=[client]).wait_blocked("read")
    freezer.take(reader.pid)
    for _ in range(5):
        freezer.set_frozen(True)
        wait_for(freezer.is_frozen, "frozen")
        freezer.set_frozen(False)
        wait_for(lambda: is_blocked(reader.pid, "read"), "waiting again")
    os.write(server, b"once")
    assert reader.result() == b"once"
    set_nonblock(client)
    with raises_errno(errno.EAGAIN):
        os.read(client, 100)


# --- FUSE over io_uring --------------------------------------------------------------------------

def test_the_mount_never_asks_for_fuses_own_ring(fresh_daemon):
    """It pins an entry for each request that waits: with a few dozen readers the mount would hang.

    Even where the kernel offers it: no option, no thread of libfuse's, and a hundred may wait.
    """
    daemon = fresh_daemon()
    offered = "/sys/module/fuse/parameters/enable_uring"
    with setting(offered, "Y") if os.path.exists(offered) else contextlib.nullcontext():
        daemon.start()
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        line, = [line for line in file if line.split()[4] == daemon.mount]
    assert "uring" not in line
    pid = daemon.process.pid
    names = {read_text(f"/proc/{pid}/task/{task}/comm") for task in os.listdir(f"/proc/{pid}/task")}
    assert not any("fuse" in name or "ring" in name for name in names), names
    name = daemon.name("n")
    os.mkdir(name.path)
    pairs = [name.pair() for _ in range(100)]
    readers = [Child(os.read, client, 10, keep=[client]) for client, _ in pairs]
    wait_for(lambda: daemon.usage(0)["held"] == "100", "all of them waiting")
    assert "dial" in os.listdir(name.path)
    for _, server in pairs:
        os.write(server, b"x")
    assert [reader.result() for reader in readers] == [b"x"] * 100
    for pair in pairs:
        close(*pair)
    daemon.stop()
