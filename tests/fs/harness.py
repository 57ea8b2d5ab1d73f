# SPDX-License-Identifier: BSD-3-Clause
"""A private daemon on a private mount, and the helpers that know the tree."""

import errno
import fcntl
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import sysc
from procs import wait_for

MOUNT_PREFIX = "/run/flowfs-test-"
SANITIZER = re.compile(r"(Address|Thread|Leak|UndefinedBehavior)Sanitizer|runtime error:")


def binary(name):
    """Path of a program of the build under test."""
    folder = os.environ.get("FLOWFS_BIN")
    assert folder, "FLOWFS_BIN must name the folder of flowfsd (CTest sets it)"
    return os.path.join(folder, name)


def program(name):
    """Path of a C++ program of tests/fs."""
    folder = os.environ.get("FLOWFS_TEST_BIN")
    assert folder, "FLOWFS_TEST_BIN must name the folder of the test programs (CTest sets it)"
    return os.path.join(folder, name)


def is_sanitized():
    """Whether the daemon runs under a sanitizer (then memory and speed say nothing)."""
    linked = subprocess.run(["ldd", binary("flowfsd")], capture_output=True, text=True, check=True)
    return bool(re.search(r"lib(asan|tsan)\.", linked.stdout))


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return any(line.split()[4] == path for line in file)


def clean_up_after_the_dead():
    """Takes away mounts and folders of earlier runs whose test process has gone."""
    def owner_is_dead(path):
        match = re.match(re.escape(MOUNT_PREFIX) + r"(\d+)-", path)
        return match and not os.path.exists(f"/proc/{match[1]}")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4] for line in file]
    for point in filter(owner_is_dead, points):
        subprocess.run(["umount", "-l", point], check=False)
    for folder in filter(owner_is_dead, glob.glob(MOUNT_PREFIX + "*")):
        shutil.rmtree(folder, ignore_errors=True)


class Daemon:
    """flowfsd in the foreground. `wrapper` is a command put in front, `limits` runs before exec."""

    def __init__(self, config=None, arguments=(), wrapper=(), limits=None, mount=None):
        self.base = tempfile.mkdtemp(prefix=f"{MOUNT_PREFIX[5:]}{os.getpid()}-", dir="/run")
        os.chmod(self.base, 0o755)
        self.mount = mount or os.path.join(self.base, "mnt")
        os.makedirs(self.mount, mode=0o755, exist_ok=True)
        self.log_path = os.path.join(self.base, "log")
        self.config_path = os.path.join(self.base, "flowfsd.toml")
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(config or "")
        self.command = [*wrapper, binary("flowfsd"), "--mount", self.mount, "--foreground",
                        "--config", self.config_path, *arguments]
        self.limits = limits
        self.process = None
        self.declared, self.declared_buses = set(), set()
        self.log_start = 0

    # --- life ------------------------------------------------------------------------------------
    def spawn(self):
        """Starts it without waiting for it to serve."""
        def prepare():
            sysc.set_pdeathsig(signal.SIGKILL)
            if self.limits:
                self.limits()
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True, preexec_fn=prepare)
        Watchdog.guard(self)
        return self

    def start(self, deadline_s=20):
        self.spawn()
        try:
            wait_for(self._serves, "version readable below the mount", deadline_s)
        except BaseException:
            self.kill()
            self.clean()
            raise
        self.declared = set(os.listdir(self.path("names")))
        self.declared_buses = set(os.listdir(self.path("buses")))
        return self

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"flowfsd ended with {self.process.returncode}:\n{self.log()}")
        if not is_mounted(self.mount):
            return False
        try:
            with open(os.path.join(self.mount, "version"), "rb") as file:
                return file.read() and "ready at" in self.log()[self.log_start:]
        except OSError:
            return False

    def kill(self):
        """SIGKILL, reaped. The mount stays, dead."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        Watchdog.release(self)

    def stop(self, deadline_s=15):
        """SIGTERM, and everything that a good end is."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            log = self.log()
            self.kill()
            raise AssertionError(f"flowfsd did not end after SIGTERM:\n{log}") from None
        Watchdog.release(self)
        assert status == 0, f"flowfsd ended with {status}:\n{self.log()}"
        assert not is_mounted(self.mount), "the mount is still there"
        wait_for(lambda: not self._session(), f"no process left of {self._session()}", 2)
        self.assert_log_clean()

    def assert_log_clean(self):
        assert not SANITIZER.search(self.log()), self.log()

    def _session(self):
        left = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if os.getsid(int(entry)) == self.process.pid:
                        left.append(int(entry))
                except OSError:
                    pass
        return left

    def clean(self):
        """Whatever happened: no process, no mount, no folder."""
        self.kill()
        while is_mounted(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=True)
        shutil.rmtree(self.base, ignore_errors=True)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    # --- resources of the process ----------------------------------------------------------------
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_kib(self):
        """Anonymous memory and shared memory it touches."""
        values = {}
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            for line in file:
                key, _, rest = line.partition(":")
                values[key] = rest
        return sum(int(values[key].split()[0]) for key in ("RssAnon", "RssShmem"))

    def wait_descriptors(self, count):
        """Waits until no more than `count` are open: a close is told to the daemon afterwards."""
        try:
            wait_for(lambda: self.descriptors() <= count, f"no more than {count} descriptors")
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {self.descriptors()}") from None

    # --- the tree --------------------------------------------------------------------------------
    def path(self, *parts):
        return os.path.join(self.mount, *parts)

    def name(self, name):
        return Name(self, name)

    def flow_states(self):
        """State by flow ID, of the flows there are now."""
        states = {}
        for flow in os.listdir(self.path("flows")):
            try:
                states[int(flow)] = read_text(self.path("flows", flow, "state"))
            except OSError as error:
                # gone meanwhile, before or after it was opened
                assert error.errno in (errno.ENOENT, errno.ENODEV, errno.ESTALE), error
        return states

    def wait_states(self, **counts):
        """Waits until exactly these many flows are in each state: accept_pending=2, allocated=0."""
        wanted = {state.replace("_", "-"): count for state, count in counts.items()}

        def reached():
            states = list(self.flow_states().values())
            return all(states.count(state) == count for state, count in wanted.items())
        try:
            wait_for(reached, f"flows {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.flow_states()}") from None

    def usage(self, uid):
        return read_values(self.path("users", str(uid), "usage"))

    def metrics(self):
        """Samples of `metrics`: {(name, frozenset of label pairs): value}."""
        import prometheus  # pylint: disable=import-outside-toplevel
        return prometheus.parse(read_text(self.path("metrics")) + "\n").samples


class Place:
    """A folder of the tree whose files are attributes."""

    def __init__(self, daemon, *parts):
        self.daemon, self.name, self.path = daemon, parts[-1], daemon.path(*parts)

    def file(self, *parts):
        return os.path.join(self.path, *parts)

    def set(self, attribute, value):
        write_text(self.file(attribute), str(value))
        return self

    def get(self, attribute):
        return read_text(self.file(attribute))


class Name(Place):
    """names/NAME of a daemon."""

    def __init__(self, daemon, name):
        super().__init__(daemon, "names", name)
        self.accept, self.dial = self.file("accept"), self.file("dial")

    def stats(self):
        return read_values(self.file("stats"))

    def open_accept(self, flags=os.O_RDWR):
        return track(sysc.open_once(self.accept, flags))

    def open_dial(self, flags=os.O_RDWR):
        return track(sysc.open_once(self.dial, flags))

    def pair(self, client=os.O_RDWR, server=os.O_RDWR, nonblock=False):
        """Both ends of a flow, opened by this process: (client, server)."""
        serving = self.open_accept(server | os.O_NONBLOCK)
        dialled = self.open_dial(client)
        set_nonblock(serving, nonblock)
        set_nonblock(dialled, nonblock)
        return dialled, serving


# --- descriptors, closed after each test ---------------------------------------------------------
_tracked = set()


def track(fd):
    _tracked.add(fd)
    return fd


def close(*fds):
    for fd in fds:
        _tracked.discard(fd)
        os.close(fd)


def close_tracked():
    while _tracked:
        try:
            os.close(_tracked.pop())
        except OSError:
            pass  # closed by the test itself


def set_nonblock(fd, on=True):
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK if on else flags & ~os.O_NONBLOCK)


def read_text(path):
    """The whole file, without the trailing newline."""
    with open(path, encoding="utf-8") as file:
        return file.read().removesuffix("\n")


def write_text(path, text):
    """One open and one write, without O_CREAT or O_TRUNC."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def parse_values(text):
    return dict(line.split(" ", 1) for line in text.splitlines())


def read_values(path):
    """A file of `key value` lines."""
    return parse_values(read_text(path))


class Watchdog:
    """Kills the daemons under test when a test overstays, so that no call can hang for ever.

    A call that waits for a daemon which does not answer cannot be ended in any other way.
    """

    _guarded = set()
    _deadline = None
    _fired = None
    _lock = threading.Lock()
    _thread = None

    @classmethod
    def guard(cls, daemon):
        with cls._lock:
            cls._guarded.add(daemon)
            if cls._thread is None:
                cls._thread = threading.Thread(target=cls._watch, daemon=True)
                cls._thread.start()

    @classmethod
    def release(cls, daemon):
        with cls._lock:
            cls._guarded.discard(daemon)

    @classmethod
    def arm(cls, seconds):
        with cls._lock:
            cls._deadline = time.monotonic() + seconds
            cls._fired = None

    @classmethod
    def disarm(cls):
        """Returns what it had to say, if it fired."""
        with cls._lock:
            cls._deadline = None
            return cls._fired

    @classmethod
    def _watch(cls):
        while True:
            time.sleep(0.1)
            with cls._lock:
                if cls._deadline is None or time.monotonic() < cls._deadline:
                    continue
                cls._deadline = None
                cls._fired = "overstayed its deadline; the daemon was killed\n" + "\n".join(
                    daemon.log()[-4000:] for daemon in cls._guarded)
                for daemon in cls._guarded:
                    daemon.process.kill()
