# SPDX-License-Identifier: BSD-3-Clause
"""The stream `events`: a line each, whole, in order, from each open on."""

import errno
import os
import re
import select
import time

import pytest
import wire
from harness import close, set_nonblock, track
from procs import Child, as_user
from sysc import raises_errno

ALICE = 61001
LINE = re.compile(r"^(\d+)\.(\d{6}) ([a-z-]+) (\S+)((?: [a-z_]+=\S*)*)$")


class Events:
    """A reader of the stream."""

    def __init__(self, daemon):
        self.fd = track(os.open(daemon.path("events"), os.O_RDONLY | os.O_NONBLOCK))
        self.text = b""

    def next(self, timeout_s=5):
        """(kind, object, words) of the next line, which must be well formed."""
        while b"\n" not in self.text:
            poller = select.poll()
            poller.register(self.fd, select.POLLIN)
            assert poller.poll(timeout_s * 1000), f"no event; so far {self.text}"
            self.text += os.read(self.fd, 4096)
        line, _, self.text = self.text.partition(b"\n")
        match = LINE.match(line.decode())
        assert match, line
        return match[3], match[4], dict(word.split("=", 1) for word in match[5].split())

    def until(self, kind):
        while True:
            event = self.next()
            if event[0] == kind:
                return event

    def none(self):
        with raises_errno(errno.EAGAIN):
            os.read(self.fd, 4096)


@pytest.fixture
def events(daemon):
    return Events(daemon)


def test_a_reader_sees_what_happens_after_its_open(daemon, name, events):
    events.none()
    os.mkdir(daemon.path("names", "later"))
    assert events.next()[:2] == ("name-created", "names/later")


def test_a_name_s_life_is_told(daemon, events):
    path = daemon.path("names", "told")
    as_user(ALICE, os.mkdir, path)
    os.rename(path, path + "2")
    os.rmdir(path + "2")
    assert events.next() == ("name-created", "names/told", {"uid": str(ALICE)})
    kind, _, words = events.next()
    assert kind == "name-renamed" and words["uid"] == "0"
    assert events.next()[:2] == ("name-removed", "names/told2")
    events.none()


def test_an_alias_is_told(daemon, events):
    path = daemon.path("names", "alias")
    os.symlink("x", path)
    os.unlink(path)
    assert [events.next()[:2] for _ in range(2)] == [("alias-created", "names/alias"),
                                                   ("alias-removed", "names/alias")]


def test_a_flow_s_life_is_told(name, events):
    client, server = name.pair()
    ids = {f"flows/{wire.flow_id(fd)}" for fd in (client, server)}
    assert events.next()[:2] == ("flow-waiting", f"names/{name.name}")
    assert events.next()[0] == "flow-allocated"
    close(client, server)
    gone = {events.until("flow-deallocated")[1]}
    assert gone <= ids


def test_refusals_and_expiries_are_told(name, events):
    name.set("dial_timeout", 0)
    with raises_errno(errno.ECONNREFUSED):
        name.open_dial()
    assert events.until("flow-refused")
    name.set("dial_timeout", 1)
    with raises_errno(errno.ETIMEDOUT):
        name.open_dial()
    assert events.until("flow-timed-out")


def test_a_reader_waits_at_the_end(daemon, name):
    fd = track(os.open(daemon.path("events"), os.O_RDONLY))
    reader = Child(os.read, fd, 4096, keep=[fd]).wait_blocked("read")
    os.mkdir(daemon.path("names", "news"))
    assert b" name-created names/news " in reader.result()


def test_a_waiting_reader_dies_when_killed(daemon):
    fd = track(os.open(daemon.path("events"), os.O_RDONLY))
    reader = Child(os.read, fd, 4096, keep=[fd]).wait_blocked("read")
    reader.assert_dies()


def test_each_open_has_its_own_position(daemon, events):
    os.mkdir(daemon.path("names", "one"))
    second = Events(daemon)
    os.mkdir(daemon.path("names", "two"))
    assert second.next()[1] == "names/two"
    assert [events.next()[1] for _ in range(2)] == ["names/one", "names/two"]


def test_a_short_read_goes_on_in_the_same_line(daemon, events):
    os.mkdir(daemon.path("names", "torn"))
    text = b""
    while not text.endswith(b"\n"):
        select.select([events.fd], [], [], 5)
        part = os.read(events.fd, 3)
        assert 1 <= len(part) <= 3
        text += part
    assert LINE.match(text.decode()[:-1])


def test_lines_are_never_torn_by_large_reads(daemon, events):
    for i in range(300):
        os.mkdir(daemon.path("names", f"n{i}"))
    for i in range(300):
        select.select([events.fd], [], [], 5)
        text = os.read(events.fd, 200)
        assert text.endswith(b"\n"), text
        if text.count(f"names/n{299} ".encode()):
            break


def test_poll_says_when_there_is_more(daemon, events):
    poller = select.poll()
    poller.register(events.fd, select.POLLIN)
    assert poller.poll(0) == []
    os.mkdir(daemon.path("names", "news"))
    assert poller.poll(5000) == [(events.fd, select.POLLIN)]
    events.next()
    assert poller.poll(0) == []


def test_a_slow_reader_gets_one_marker_with_the_count_and_goes_on(daemon, events):
    path = daemon.path("names", "churn")
    rounds = 6000
    for _ in range(rounds):
        os.mkdir(path)
        os.rmdir(path)
    kind, _, words = events.next()
    assert kind == "lost"
    lost = int(words["count"])
    os.mkdir(daemon.path("names", "last"))
    seen = 0
    while True:
        kind, where, _ = events.next()
        assert kind != "lost"
        if where == "names/last":
            break
        seen += 1
    assert lost > 0 and lost + seen == 2 * rounds


def test_the_time_is_wall_time(daemon, events):
    os.mkdir(daemon.path("names", "now"))
    select.select([events.fd], [], [], 5)
    assert abs(float(os.read(events.fd, 4096).split()[0]) - time.time()) < 60


def test_events_cannot_be_written(daemon):
    with raises_errno(errno.EACCES, errno.EINVAL, errno.EPERM, errno.EBADF):
        os.write(track(os.open(daemon.path("events"), os.O_WRONLY)), b"x")


def test_seeking_is_refused(events):
    with raises_errno(errno.ESPIPE):
        os.lseek(events.fd, 0, os.SEEK_SET)


def test_nonblock_can_be_switched_on_later(daemon):
    fd = track(os.open(daemon.path("events"), os.O_RDONLY))
    set_nonblock(fd)
    with raises_errno(errno.EAGAIN):
        os.read(fd, 100)
