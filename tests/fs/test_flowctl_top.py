# SPDX-License-Identifier: BSD-3-Clause
"""flowctl top: tables and JSON of what moves, and the live view on a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios

import pytest
from flowctl_runs import Run, run, serve  # pylint: disable=unused-import
from harness import binary
from procs import all_stopped, as_user, describe, paused, wait_for

STRANGER = 4242


class Terminal:
    """flowctl top on a terminal of so many rows and columns, and what it has drawn so far."""

    def __init__(self, daemon, *arguments, rows=24, columns=100, term="xterm"):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.environ["TERM"] = term
                os.environ.pop("COLUMNS", None)
                command = binary("flowctl")
                os.execl(command, command, "--mount", daemon.mount, "top", *arguments)
            finally:
                os._exit(127)
        self.status = None
        self.shown = b""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        self.forget()
        os.write(self.fd, text)

    def forget(self):
        self._read()
        self.shown = b""

    def _read(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                part = os.read(self.fd, 65536)
            except OSError:
                return  # it has ended
            self.shown += part
            if not part:
                return

    def plain(self):
        """What was written, without what moves the cursor and sets colours."""
        self._read()
        return re.sub(rb"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])|\x0f", b"", self.shown).decode()

    def wait_for(self, text):
        wait_for(lambda: text in self.plain(), f"{text!r} on the terminal, not {self.plain()[-600:]!r}")

    def end(self):
        """Its exit status, once it has ended."""
        def ended():
            self._read()  # what it still has to write
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
            return pid
        try:
            wait_for(ended, "the end of flowctl top")
        except AssertionError as error:
            raise AssertionError(f"{error}: {describe(self.pid)}, {self.plain()[-600:]!r}") from None
        self._read()
        return self.status

    def holds(self, folder):
        """Whether it has a file below the folder open."""
        fds = f"/proc/{self.pid}/fd"
        return any(os.readlink(f"{fds}/{fd}").startswith(folder) for fd in os.listdir(fds))

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(daemon):
    made = []

    def start(*arguments, **kwargs):
        made.append(Terminal(kwargs.pop("of", daemon), *arguments, **kwargs))
        return made[-1]
    yield start
    for one in made:
        one.close()


def top(daemon, *arguments, uid=None):
    def look():
        return Run(daemon.mount, "top", "-d", "0.05", *arguments).end()
    return as_user(uid, look) if uid is not None else look()


# --- tables and JSON -----------------------------------------------------------------------------

def test_tables_follow_each_other(daemon, name):
    name.pair()
    code, out, err = top(daemon, "--batch", "-n", "3")
    assert (code, err) == (0, "")
    assert out.count(" requests/s, ") == 3
    assert out.count("\nflows (2)\n") == 3
    assert out.count(f"\n{name.name} ") == 3


def test_json_has_a_line_for_each_look(daemon, name):
    name.pair()
    code, out, err = top(daemon, "--json", "-n", "2")
    assert (code, err) == (0, "")
    samples = [json.loads(line) for line in out.splitlines()]
    assert len(samples) == 2
    for sample in samples:
        assert sample["type"] == "sample"
        assert sample["interval_s"] >= 0.05
        assert sample["requests_per_s"] > 0  # its own
        assert len(sample["flows"]) == 2
        assert name.name in [entry["name"] for entry in sample["names"]]
        assert "root" in [user["user"] for user in sample["users"]]


def test_rates_are_what_moved_between_two_looks(daemon, name):
    client, server = name.pair()
    process = Run(daemon.mount, "top", "--json", "-d", "0.3", "-n", "20")
    process.line()  # it compares with what is there now
    sent = 0

    def moved():
        """The next sample; one taken before the first message has nothing to tell."""
        nonlocal sent
        os.write(client, b"x" * 10)
        os.read(server, 100)
        sent += 1
        if not select.select([process.process.stdout], [], [], 0)[0]:
            return None
        sample = json.loads(process.line())
        moves = {way: any(flow[f"messages_{way}_per_s"] for flow in sample["flows"]) for way in ("in", "out")}
        return sample if all(moves.values()) else None
    sample = wait_for(moved, "a sample of what moves")
    by_direction = sorted((flow["messages_out_per_s"], flow["messages_in_per_s"])
                          for flow in sample["flows"])
    (_, arrived), (left, _) = by_direction
    # The two ends are read one after the other, so they need not tell the same.
    for rate in (left, arrived):
        assert 0 < rate * sample["interval_s"] <= sent + 1
    process.end(signal.SIGKILL)


def test_flows_come_in_the_order_asked_for(daemon, name):
    pairs = [name.pair() for _ in range(3)]
    code, out, _ = top(daemon, "--json", "-n", "1", "--sort", "id")
    ids = [flow["id"] for flow in json.loads(out)["flows"]]
    assert (code, len(pairs)) == (0, 3)
    assert ids == sorted(ids)
    assert len(ids) == 6


def test_what_is_not_the_callers_is_hidden(daemon, name):
    name.pair()
    code, out, err = top(daemon, "--batch", "-n", "1", uid=STRANGER)
    assert (code, err) == (0, "")
    assert "flows (0; 2 of others, hidden)" in out


def test_pools_are_shown_where_there_are_any(daemon):
    _, out, _ = top(daemon, "--json", "-n", "1")
    folder = daemon.path("pools")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    assert sorted(pool["name"] for pool in json.loads(out)["pools"]) == sorted(names)


def test_a_pipe_gets_tables_without_being_asked_for(daemon):
    process = Run(daemon.mount, "top", "-d", "0.05")
    assert " requests/s, " in process.line()
    process.end(signal.SIGTERM)


def test_no_tree_is_a_message(tmp_path):
    code, out, err = Run(str(tmp_path), "top", "--batch").end()
    assert (code, out) == (1, "")
    assert "ENOENT" in err and "flowctl doctor" in err


def test_tables_end_with_the_daemon(fresh_daemon):
    daemon = fresh_daemon().start()
    process = Run(daemon.mount, "top", "--batch", "-d", "0.05")
    process.line()
    daemon.kill()
    code, _, err = process.end()
    assert code == 1
    assert "start flowfsd again" in err


@pytest.mark.parametrize("arguments", [("--sort", "size"), ("-d", "0"), ("-n", "x"), ("extra",)])
def test_a_wrong_command_line_is_refused(daemon, arguments):
    code, out, err = Run(daemon.mount, "top", *arguments).end()
    assert (code, out) == (2, "")
    assert err != ""


# --- the live view -------------------------------------------------------------------------------

def test_the_view_is_live_until_q(daemon, name, terminal):
    screen = terminal("-d", "0.05")
    screen.wait_for("flows (0)")
    screen.wait_for("q quit")
    name.pair()
    screen.wait_for("allocated")
    screen.type(b"q")
    assert screen.end() == 0
    assert b"\x1b[?1049l" in screen.shown  # the terminal is as it was


def test_control_c_gives_the_terminal_back(daemon, terminal):
    screen = terminal("-d", "0.05")
    screen.wait_for("q quit")
    screen.type(b"\x03")
    assert screen.end() == 0
    assert b"\x1b[?1049l" in screen.shown


@pytest.mark.parametrize("key, first", [(b"i", "zz"), (b"n", "aa"), (b"m", "aa"), (b"b", "zz")])
def test_a_key_changes_the_order(daemon, terminal, key, first):
    made = {}
    for which in ("zz", "aa"):  # the first has the lower numbers
        name = daemon.name(which)
        os.mkdir(name.path)
        made[which] = name.pair()
    screen = terminal("-d", "0.1")
    screen.wait_for("users (")

    def row_of(which):
        """Where its first flow stands on a screen drawn anew."""
        screen.type(b"\x0c")
        screen.wait_for("users (")
        lines = re.findall(r"allocated *(zz|aa) ", screen.plain())
        return lines.index(which) if which in lines else None
    screen.type(key)

    def in_order():
        # aa has more messages, zz more bytes, all the time
        for _ in range(20):
            os.write(made["aa"][0], b"x")
            os.read(made["aa"][1], 10)
        os.write(made["zz"][0], b"x" * 50000)
        os.read(made["zz"][1], 50000)
        return row_of(first) == 0
    wait_for(in_order, f"{first} on top")
    screen.type(b"q")
    assert screen.end() == 0


def test_the_view_follows_the_size_of_the_terminal(daemon, terminal):
    screen = terminal("-d", "0.05", columns=100)
    screen.wait_for("users (")
    screen.forget()
    # Three rows: there is room for the first two lines and the last.
    screen.resize(3, 60)
    screen.wait_for("q quit")
    screen.forget()
    screen.resize(30, 90)
    screen.wait_for("users (")
    screen.type(b"q")
    assert screen.end() == 0


def test_a_daemon_that_ends_is_a_message_on_the_terminal_as_it_was(fresh_daemon, terminal):
    daemon = fresh_daemon().start()
    screen = terminal("-d", "0.05", of=daemon)
    screen.wait_for("q quit")
    daemon.kill()
    assert screen.end() == 1
    after = screen.shown.split(b"\x1b[?1049l")[-1]
    assert b"start flowfsd again" in after


def test_a_daemon_that_does_not_answer_is_told_and_holds_nobody(fresh_daemon, terminal):
    daemon = fresh_daemon().start()
    screen = terminal("-d", "0.05", of=daemon)
    screen.wait_for("users (")

    # Between two samples: for a request that the daemon has read, and for the flush of a file that is
    # open, the kernel waits even with SIGKILL.
    def stopped():
        with paused(screen.pid):
            if screen.holds(daemon.mount):
                return False
            daemon.process.send_signal(signal.SIGSTOP)
            wait_for(lambda: all_stopped(daemon.process.pid), "a stopped daemon")
            return True
    wait_for(stopped, "a moment between two samples")
    try:
        def told():
            screen.type(b"\x0c")  # all of it, not just what has changed
            screen.wait_for("flows (0)")
            return "has not answered for " in screen.plain()
        wait_for(told, "a word that the daemon does not answer")
        screen.type(b"q")
        assert screen.end() == 0
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    daemon.stop()


@pytest.mark.parametrize("term", ["dumb", "", "nothing-of-that-name"])
def test_a_terminal_that_can_do_no_more_gets_tables(daemon, terminal, term):
    screen = terminal("-d", "0.05", term=term)
    screen.wait_for("flows (")
    screen.wait_for(" requests/s, ")
    assert b"\x1b" not in screen.shown
