# SPDX-License-Identifier: BSD-3-Clause
"""Processes for the tests: a function run in a child, under any identity, and what /proc says of it."""

import contextlib
import os
import pickle
import re
import select
import signal
import subprocess
import time
import traceback

import figures
import sysc

DEADLINE_S = 10.0


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """Polls `condition` until it is true, and returns what it gave; fails after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(0.002)


class Remote(Exception):
    """An exception that is no OSError, from a child, with the child's traceback in words."""


class Child:
    """`function(*args)` in a forked process. Other descriptors than `keep` are closed in it."""

    living = []

    def __init__(self, function, *args, uid=None, gid=None, groups=None, keep=(), umask=None):
        readable, writable = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(writable, parent, function, args, (uid, gid, groups), keep, umask)
        os.close(writable)
        self._pipe = readable
        self._status = None
        Child.living.append(self)

    @staticmethod
    def _run(writable, parent, function, args, identity, keep, umask):
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            close_all_but({0, 1, 2, writable, *keep})
            if umask is not None:
                os.umask(umask)
            become(*identity)
            sysc.set_pdeathsig(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(2)
            try:
                answer = (True, function(*args))
            except OSError as error:
                answer = (False, error)
            except BaseException:  # pylint: disable=broad-except
                answer = (False, Remote(traceback.format_exc()))
            data = pickle.dumps(answer)
            while data:
                data = data[os.write(writable, data):]
            code = 0
        finally:
            os._exit(code)

    def finished(self, within_s):
        """Whether an answer or the child's end came within the time."""
        return bool(select.select([self._pipe], [], [], within_s)[0])

    def result(self, deadline_s=DEADLINE_S):
        """The function's value, or its exception raised here."""
        data = b""
        end = time.monotonic() + deadline_s
        while True:
            if not self.finished(max(0.0, end - time.monotonic())):
                raise AssertionError(f"child {self.pid} did not end in {deadline_s} s: "
                                     f"{describe(self.pid)}")
            part = os.read(self._pipe, 65536)
            if not part:
                break
            data += part
        self.reap(deadline_s)
        if not data:
            raise AssertionError(f"child {self.pid} died without an answer: {self._status}")
        good, value = pickle.loads(data)
        if good:
            return value
        raise value

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def reap(self, deadline_s=DEADLINE_S):
        """Waits for its end; returns the wait status."""
        if self._status is None:
            def gone():
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self._status = status
                return pid
            try:
                wait_for(gone, f"end of child {self.pid}", deadline_s)
            except AssertionError as error:
                raise AssertionError(f"{error}: {describe(self.pid)}") from None
            os.close(self._pipe)
            Child.living.remove(self)
        return self._status

    def reaped(self):
        return self._status is not None

    def assert_dies(self, number=signal.SIGKILL, deadline_s=DEADLINE_S):
        """Sends the signal, and the child is gone though nobody did what it waits for."""
        start = time.monotonic()
        self.kill(number)
        self.reap(deadline_s)
        figures.note_longest("a killed process that waited is gone", time.monotonic() - start)

    def wait_blocked(self, *calls):
        wait_blocked(self.pid, *calls)
        return self


def become(uid, gid, groups):
    """Takes on an identity for good. None leaves a part as it is; a uid alone brings its own gid."""
    if uid is None and gid is None and groups is None:
        return
    os.setgroups(groups or [])
    gid = uid if gid is None else gid
    if gid is not None:
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)


def as_user(uid, function, *args, gid=None, groups=None, umask=None):
    """The value of `function(*args)` run as another user, or its exception."""
    return Child(function, *args, uid=uid, gid=gid, groups=groups, umask=umask).result()


def end_children():
    """Kills what a test left; returns the pids of those that would not die."""
    stuck = []
    for child in list(Child.living):
        try:
            child.kill(signal.SIGKILL)
            child.reap()
        except AssertionError:
            stuck.append(child.pid)
            Child.living.remove(child)
    return stuck


def close_all_but(keep):
    """Closes every descriptor of this process but those."""
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) not in keep:
            try:
                os.close(int(entry))
            except OSError:
                pass  # the listing's own


def _proc(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def state_of(pid):
    """The letter of /proc/PID/stat, or "" when there is no such process."""
    text = _proc(pid, "stat")
    return text.rpartition(")")[2].split()[0] if text else ""


def all_stopped(pid):
    """Whether each of its threads has been stopped by a signal: none is in a system call then."""
    def state(task):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    return all(state(task) == "T" for task in os.listdir(f"/proc/{pid}/task"))


@contextlib.contextmanager
def paused(pid):
    """With the process stopped, and none of its threads in a system call."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: all_stopped(pid), f"{describe(pid)} to stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def describe(pid):
    """What a process is doing, for a failure's message."""
    return (f"pid {pid} state {state_of(pid)} wchan {_proc(pid, 'wchan')} "
            f"syscall {_proc(pid, 'syscall').strip()} stack {_proc(pid, 'stack').split()}")


def is_blocked(pid, *calls):
    """Whether it waits in one of these system calls for an answer of the daemon.

    Interruptible only: an uninterruptible wait (D) is never what a test wants to see. A request that is
    on its way to a quick answer looks the same; `wait_blocked` tells the two apart.
    """
    words = _proc(pid, "syscall").split()
    if not words or not words[0].isdigit():
        return False
    if int(words[0]) not in {sysc.SYSCALL_NUMBERS[call] for call in calls}:
        return False
    return state_of(pid) == "S" and _proc(pid, "wchan") == "request_wait_answer"


_STAYS_S = 0.005


def _stays_blocked(pid, *calls):
    def sleeps():
        return re.findall(r"ctxt_switches:\s*(\d+)", _proc(pid, "status"))
    before = sleeps()
    if not is_blocked(pid, *calls):
        return False
    time.sleep(_STAYS_S)
    return is_blocked(pid, *calls) and sleeps() == before


def wait_blocked(pid, *calls):
    """Until it waits in one of these calls and stays there: one that goes from call to call does not count."""
    try:
        wait_for(lambda: _stays_blocked(pid, *calls), f"pid {pid} blocked in {calls}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {describe(pid)}") from None


def has_open(pid, path):
    """Whether a descriptor of the process is of that file, which may be shown as deleted."""
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(f"{folder}/{fd}").startswith(path):
                return True
    return False


def descendants(pid):
    """The pids below `pid`, children first."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task") if os.path.isdir(f"/proc/{pid}/task") else []:
        for child in _proc(pid, f"task/{task}/children").split():
            found += [int(child), *descendants(int(child))]
    return found


def sh(script, timeout_s=20, check=True, **environment):
    """Runs `script` in bash with a deadline; on expiry its whole session is killed."""
    process = subprocess.Popen(["bash", "-c", script], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               errors="backslashreplace", start_new_session=True,
                               env={**os.environ, "LC_ALL": "C", **environment})
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"not done in {timeout_s} s: {script}\n{out[-2000:]}\n{err[-2000:]}") from None
    if check and process.returncode != 0:
        raise AssertionError(f"status {process.returncode}: {script}\n{out}\n{err}")
    return Finished(process.returncode, out, err)


class Finished:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err
