# SPDX-License-Identifier: BSD-3-Clause
"""buses/: making, naming and removing them, and the attributes of one."""

import errno
import os
import select
import stat
import time

import pytest
import wire
from buses import Bus
from frames import BROADCAST, frame, station
from harness import close, read_text, track, write_text
from procs import Child, as_user, sh, wait_blocked, wait_for
from sysc import raises_errno, rename2

ALICE, BOB = 61001, 61002
NOREPLACE, EXCHANGE = 1, 2
FILES = ["bus", "delivery", "depth", "events", "evict", "grab", "history", "log", "macs", "members", "mtu",
         "pcap", "policy", "port", "ports", "stats", "tap", "writers"]
DEFAULTS = {"policy": "broadcast", "delivery": "lossy", "mtu": "917504", "depth": "1048576",
            "history": "0", "writers": "max", "ports": "256", "evict": "max"}


def test_mkdir_makes_the_files_and_rmdir_takes_them(daemon, bus):
    assert sorted(os.listdir(bus.path)) == FILES
    assert {name: bus.get(name) for name in DEFAULTS} == DEFAULTS
    assert bus.members() == {}
    assert bus.stats() == {key: 0 for key in ("sent", "bytes", "delivered", "dropped", "lag", "members",
                                              "readers", "writers")}
    os.rmdir(bus.path)
    assert bus.name not in os.listdir(daemon.path("buses"))


SESSION = """
    set -eu
    left() { until [ -z "$(cat members)" ]; do sleep 0.005; done; }
    mkdir $B && cd $B
    stat -c '%a %n' bus policy members log pcap tap grab macs stats
    echo lossless > delivery; echo 1000 > mtu; echo 4096 > depth; echo 2 > history
    echo 4 > writers; echo 9 > ports; echo 5000000 > evict
    cat policy delivery mtu depth history writers ports evict
    for word in one two three; do echo $word > bus; done
    left
    exec 4< events 3<> bus
    read -r first <&3; read -r second <&3; echo $first $second
    cut -d' ' -f1,2,4-7 members
    ls port; head -n 1 port/1/stats; head -n 1 stats
    echo four > bus
    until [ "$(wc -l < members)" = 1 ]; do sleep 0.005; done
    read -r word <&3; echo $word
    exec 3<&-
    timeout 10 head -n 4 <&4 | cut -d' ' -f2,5-
    left
    echo switch > policy
    exec 3<> bus 5< pcap
    echo access 10 > port/1/vlan; echo uplink > port/1/name; cat port/1/vlan port/1/name
    head -c 60 $F >&3
    cut -d' ' -f1-3 macs
    head -c 4 <&5 | od -An -tx1
    ls -l vde | grep -c -- '-> /.*vde'; ls vde/
    exec 3<&- 5<&-
    left
    cd ..; rmdir $B
    """
SHOWN = """\
700 bus
644 policy
444 members
400 log
400 pcap
755 tap
755 grab
444 macs
444 stats
broadcast
lossless
1000
4096
2
4
9
5000000
two three
1 0 rw 0 2 0
1
sent 0
sent 3
four
join port=1 mode=rw readers=1 writers=1
join port=2 mode=w readers=1 writers=2
leave port=2 mode=w readers=1 writers=1
leave port=1 mode=rw readers=0 writers=0
access 10
uplink
02:00:00:00:00:01 10 1
 0a 0d 0d 0a
1
ctl
"""


def test_a_shell_makes_a_bus_uses_every_file_of_it_and_removes_it(daemon, tmp_path):
    ethernet = tmp_path / "frame"
    ethernet.write_bytes(frame(BROADCAST, station(1)))
    done = sh(SESSION, B=daemon.path("buses", "session"), F=str(ethernet))
    assert done.out == SHOWN
    assert os.listdir(daemon.path("buses")) == []


def test_everybody_may_make_a_bus_and_only_its_owner_may_remove_it(daemon):
    assert stat.S_IMODE(os.stat(daemon.path("buses")).st_mode) == 0o1777
    path = daemon.path("buses", "hers")
    as_user(ALICE, os.mkdir, path)
    assert os.stat(path).st_uid == ALICE
    with raises_errno(errno.EPERM):
        as_user(BOB, os.rmdir, path)
    with raises_errno(errno.EPERM):
        as_user(BOB, os.rename, path, daemon.path("buses", "his"))
    as_user(ALICE, os.rmdir, path)


@pytest.mark.parametrize("name, number", [
    (".hidden", errno.EINVAL), ("a b", errno.EINVAL), ("ä", errno.EINVAL), ("a" * 256, errno.ENAMETOOLONG)])
def test_a_bad_name_is_refused(daemon, name, number):
    with raises_errno(number):
        os.mkdir(daemon.path("buses", name))


def test_a_bus_is_renamed_and_exchanged(daemon, bus):
    other = Bus(daemon, "other")
    os.mkdir(other.path)
    bus.set("mtu", 11)
    other.set("mtu", 22)
    member = bus.join()
    rename2(bus.path, other.path, EXCHANGE)
    assert (bus.get("mtu"), other.get("mtu")) == ("22", "11")
    assert len(other.members()) == 1
    with raises_errno(errno.EEXIST):
        os.rename(bus.path, other.path)
    with raises_errno(errno.EEXIST):
        rename2(bus.path, other.path, NOREPLACE)
    new = Bus(daemon, "new.name")
    os.rename(other.path, new.path)
    assert new.get("mtu") == "11"
    close(member)
    new.wait_members(0)


def test_a_bus_stays_among_buses(daemon, bus):
    with raises_errno(errno.EPERM):
        os.rename(bus.path, daemon.path("names", "x"))
    with raises_errno(errno.EPERM):
        os.rename(bus.file("mtu"), bus.file("mtu2"))


def test_a_bus_holds_only_its_own_files(bus):
    for call in (lambda: os.mkdir(bus.file("more")), lambda: os.mkdir(bus.file("port", "7")),
                 lambda: os.unlink(bus.file("mtu")), lambda: os.symlink("x", bus.file("link")),
                 lambda: os.rmdir(bus.file("port"))):
        with raises_errno(errno.EPERM):
            call()
    with raises_errno(errno.EACCES):
        os.open(bus.file("new"), os.O_CREAT | os.O_WRONLY)
    with raises_errno(errno.ENOENT):
        os.rmdir(bus.file("missing"))


def test_rmdir_waits_for_no_member(bus):
    member = bus.reader()
    with raises_errno(errno.EBUSY):
        os.rmdir(bus.path)
    close(member)
    os.rmdir(bus.path)


@pytest.mark.parametrize("name, good, normal", [
    ("mtu", ["1", "67108864", " 100 \n"], "100"), ("depth", ["1", "1073741824"], "1073741824"),
    ("history", ["0", "1000000", "7"], "7"), ("writers", ["1", "65536", "max"], "max"),
    ("ports", ["1", "65536"], "65536"), ("evict", ["1", "max", "1000000000000"], "1000000000000"),
    ("delivery", ["lossless", "lossy", " lossless\n"], "lossless"), ("policy", ["broadcast"], "broadcast")])
def test_an_attribute_takes_good_values(bus, name, good, normal):
    for value in good:
        bus.set(name, value)
    assert bus.get(name) == normal


@pytest.mark.parametrize("name, bad", [
    ("mtu", {"0": "ERANGE", "67108865": "ERANGE", "x": "EINVAL", "max": "ERANGE"}),
    ("depth", {"0": "ERANGE", "1073741825": "ERANGE", "-1": "EINVAL"}),
    ("history", {"1000001": "ERANGE", "": "EINVAL"}), ("writers", {"0": "ERANGE", "1x": "EINVAL"}),
    ("ports", {"0": "ERANGE", "max": "ERANGE", "65537": "ERANGE"}), ("evict", {"0": "ERANGE"}),
    ("delivery", {"both": "EINVAL", "LOSSY": "EINVAL"}), ("policy", {"broadcasts": "EINVAL", "1": "EINVAL"})])
def test_a_bad_value_changes_nothing(bus, name, bad):
    for value, number in bad.items():
        with raises_errno(getattr(errno, number)):
            bus.set(name, value + "\n")
        assert bus.get(name) == DEFAULTS[name]


def test_what_is_told_cannot_be_set(bus):
    member = bus.reader()
    for name in ("members", "stats", "port/1/stats"):
        with raises_errno(errno.EACCES):
            write_text(bus.file(name), "1\n")
    close(member)


def test_members_have_the_smallest_free_numbers(bus):
    first, second, third = bus.reader(), bus.writer(), bus.join()
    assert [(port, member.mode, member.uid, member.pid) for port, member in bus.members().items()] == [
        (1, "r", 0, os.getpid()), (2, "w", 0, os.getpid()), (3, "rw", 0, os.getpid())]
    assert sorted(os.listdir(bus.file("port"))) == ["1", "2", "3"]
    close(second)
    bus.wait_members(2)
    again = bus.join()
    assert sorted(bus.members()) == [1, 2, 3]
    close(first, third, again)


def test_the_age_of_a_member_is_since_it_joined(bus):
    before = time.monotonic()
    bus.reader()
    joined = time.monotonic()
    wait_for(lambda: bus.members()[1].age > 1, "a later time")
    asked = time.monotonic()
    age_s = bus.members()[1].age / 1e6
    assert asked - joined - 1e-6 <= age_s <= time.monotonic() - before


def test_a_port_s_folder_is_its_owner_s_alone(open_bus):
    def as_alice():
        fd = os.open(open_bus.bus, os.O_RDWR)
        (port,) = os.listdir(open_bus.file("port"))
        stats = read_text(open_bus.file("port", port, "stats"))
        is_folder = os.path.isdir(open_bus.file("port", port))
        os.close(fd)
        return is_folder, stats.splitlines()[0]
    member = open_bus.reader()
    close(member)
    open_bus.wait_members(0)
    assert as_user(ALICE, as_alice) == (True, "sent 0")
    open_bus.wait_members(0)
    member = open_bus.join()
    with raises_errno(errno.EACCES):
        as_user(ALICE, read_text, open_bus.file("port", "1", "stats"))
    with raises_errno(errno.ENOENT):
        os.stat(open_bus.file("port", "01"))
    close(member)


def test_the_number_of_ports_is_a_limit_raised_and_lowered_while_running(bus):
    bus.set("ports", 2)
    members = [bus.reader(), bus.writer()]
    with raises_errno(errno.EADDRNOTAVAIL):
        bus.reader()
    bus.set("ports", 3)
    members.append(bus.reader())
    with raises_errno(errno.EBUSY):
        bus.set("ports", 2)
    assert bus.get("ports") == "3"
    close(members.pop())
    bus.wait_members(2)
    bus.set("ports", 2)
    with raises_errno(errno.EADDRNOTAVAIL):
        bus.reader()
    assert len(bus.members()) == 2


def test_the_number_of_writers_is_a_limit(bus):
    bus.set("writers", 1)
    writer = bus.join()
    with raises_errno(errno.EBUSY):
        bus.writer()
    reader = bus.reader()
    bus.set("writers", 2)
    second = bus.writer()
    with raises_errno(errno.EBUSY):
        bus.set("writers", 1)
    close(writer, reader, second)


def test_strangers_share_the_ports_and_leave_some_to_the_owner(open_bus):
    def join_all():
        fds = []
        try:
            while True:
                fds.append(os.open(open_bus.bus, os.O_RDONLY))
        except OSError as error:
            return len(fds), error.errno
    open_bus.set("ports", 10)
    assert as_user(ALICE, join_all) == (5, errno.EADDRNOTAVAIL)
    open_bus.wait_members(0)
    for _ in range(10):
        open_bus.reader()


def test_the_bus_tells_who_joins_and_leaves(bus):
    events = track(os.open(bus.file("events"), os.O_RDONLY | os.O_NONBLOCK))
    first, second = bus.join(), bus.reader()
    close(first)
    bus.wait_members(1)
    close(second)
    bus.wait_members(0)
    lines = [line.split(" ", 2)[1:] for line in os.read(events, 65536).decode().splitlines()]
    path = f"buses/{bus.name} uid=0"
    assert lines == [["join", f"{path} port=1 mode=rw readers=1 writers=1"],
                     ["join", f"{path} port=2 mode=r readers=2 writers=1"],
                     ["leave", f"{path} port=1 mode=rw readers=1 writers=0"],
                     ["leave", f"{path} port=2 mode=r readers=0 writers=0"]]


def events_of(bus):
    """What the stream of a bus says from now on: a call that gives the words behind the time."""
    stream = track(os.open(bus.file("events"), os.O_RDONLY | os.O_NONBLOCK))

    def read():
        lines = os.read(stream, 65536).decode().splitlines()
        return [line.replace(f"buses/{bus.name} ", "").split(" ", 1)[1] for line in lines]
    return read


def test_the_bus_tells_of_another_policy_and_who_set_it(open_bus):
    os.chmod(open_bus.bus, 0o701)
    events = events_of(open_bus)
    as_user(ALICE, write_text, open_bus.file("policy"), "switch")
    open_bus.set("policy", "switch").set("history", 3)
    assert events() == [f"policy uid={ALICE} policy=switch readers=0 writers=0"]


def ctl_of(bus, fd):
    return bus.file("port", str(wire.flow_id(fd)), "ctl")


def test_a_member_that_shuts_down_writing_only_reads(bus):
    bus.set("writers", 2)
    member, other = bus.join(), bus.join()
    events = events_of(bus)
    write_text(ctl_of(bus, member), "shutdown write\n")
    with raises_errno(errno.EPIPE):
        os.write(member, b"x")
    os.write(other, b"still heard")
    assert os.read(member, 100) == b"still heard"
    assert events() == ["shutdown uid=0 port=1 mode=r readers=2 writers=1"]
    assert (bus.members()[1].mode, bus.stats()["writers"]) == ("r", 1)
    bus.writer()


def test_a_member_that_shuts_down_reading_finds_the_end_and_still_writes(bus):
    member, other = bus.join(), bus.join()
    os.write(other, b"lost")
    waiting = Child(os.read, other, 100, keep=[other])
    wait_blocked(waiting.pid, "read")
    for fd in (member, other):
        write_text(ctl_of(bus, fd), "shutdown read")
    assert waiting.result() == b""
    assert os.read(member, 100) == b""
    os.write(member, b"to nobody")
    poller = select.poll()
    poller.register(member, select.POLLIN | select.POLLOUT)
    assert poller.poll(0) == [(member, select.POLLIN | select.POLLOUT)]
    assert [(m.mode, m.lag, m.dropped) for m in bus.members().values()] == [("w", 0, 1), ("w", 0, 0)]
    bus.check_accounts()


def test_a_writer_that_waits_is_told_that_it_was_shut_down(bus):
    bus.set("delivery", "lossless").set("depth", 1)
    writer, reader = bus.writer(), bus.reader()
    os.write(writer, b"first")

    def write():
        with raises_errno(errno.EPIPE):
            os.write(writer, b"second")
    child = Child(write, keep=[writer])
    wait_blocked(child.pid, "write")
    write_text(ctl_of(bus, writer), "shutdown write")
    child.result()
    assert os.read(reader, 100) == b"first"


@pytest.mark.parametrize("words", [["close"], ["shutdown read", "shutdown write"]])
def test_a_member_without_any_direction_has_left(bus, words):
    member, _ = bus.join(), bus.join()
    ctl = os.open(ctl_of(bus, member), os.O_WRONLY)
    events = events_of(bus)
    for word in words:
        os.write(ctl, word.encode())
    assert events()[-1].startswith("leave uid=0 port=1 ")
    assert sorted(bus.members()) == [2]
    with raises_errno(errno.ESTALE):
        os.write(ctl, b"close")
    os.close(ctl)
    assert os.read(member, 100) == b""
    with raises_errno(errno.EPIPE):
        os.write(member, b"x")
    poller = select.poll()
    poller.register(member, select.POLLIN)
    assert poller.poll(0) == [(member, select.POLLIN | select.POLLHUP)]
    assert wire.flow_id(bus.join()) == 1


def test_a_reader_gives_up_what_it_has_and_nothing_else(bus):
    reader = bus.reader()
    write_text(ctl_of(bus, reader), "shutdown write")
    assert bus.members()[1].mode == "r"
    with raises_errno(errno.EINVAL):
        write_text(ctl_of(bus, reader), "shutdown")
    with raises_errno(errno.EACCES):
        read_text(ctl_of(bus, reader))
    write_text(ctl_of(bus, reader), "shutdown read")
    assert bus.members() == {}


def test_nobody_shuts_down_another_s_member(open_bus):
    member = open_bus.join()
    with raises_errno(errno.EACCES):
        as_user(ALICE, write_text, ctl_of(open_bus, member), "close")
    assert open_bus.members()[1].mode == "rw"


def test_a_slow_reader_of_the_events_of_a_bus_is_told_how_many_it_lost(bus):
    events = events_of(bus)
    for _ in range(100):
        close(bus.reader())
    bus.wait_members(0)
    lines = events()
    assert lines[0] == "lost - count=72"
    assert len(lines) == 129


def test_the_events_of_a_removed_bus_end(bus):
    events = track(os.open(bus.file("events"), os.O_RDONLY))
    poller = select.poll()
    poller.register(events, select.POLLIN)
    assert poller.poll(0) == []
    os.rmdir(bus.path)
    assert poller.poll(10_000) == [(events, select.POLLIN | select.POLLHUP)]
    assert os.read(events, 100) == b""


def test_the_tree_tells_of_buses_that_come_and_go(daemon):
    events = track(os.open(daemon.path("events"), os.O_RDONLY | os.O_NONBLOCK))
    sh(f"cd {daemon.path('buses')}; mkdir one; mv one two; rmdir two")
    lines = [line.split(" ")[1:] for line in os.read(events, 65536).decode().splitlines()]
    assert lines == [["bus-created", "buses/one", "uid=0"],
                     ["bus-renamed", "buses/one", "uid=0", "to=two"],
                     ["bus-removed", "buses/two", "uid=0"]]


def test_buses_and_ports_are_charged_and_given_back(daemon, open_bus):
    def use():
        os.mkdir(daemon.path("buses", "alices"))
        fd = os.open(open_bus.bus, os.O_RDWR)
        usage = daemon.usage(ALICE)
        os.close(fd)
        os.rmdir(daemon.path("buses", "alices"))
        return usage["buses"], usage["ports"]
    assert as_user(ALICE, use) == ("1", "1")
    wait_for(lambda: {daemon.usage(ALICE)[key] for key in ("buses", "ports")} == {"0"}, "all given back")


def test_a_user_s_limits_hold(daemon, open_bus):
    def over():
        results = []
        for call in (lambda: os.mkdir(daemon.path("buses", "toomany")),
                     lambda: os.open(open_bus.bus, os.O_RDONLY)):
            with pytest.raises(OSError) as caught:
                call()
            results.append(caught.value.errno)
        return results
    as_user(BOB, os.mkdir, daemon.path("buses", "bobs"))
    write_text(daemon.path("users", str(BOB), "limits"), "buses 0\nports 0\n")
    assert as_user(BOB, over) == [errno.EDQUOT, errno.EDQUOT]
