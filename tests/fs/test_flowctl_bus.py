# SPDX-License-Identifier: BSD-3-Clause
"""flowctl bus: what it shows of buses, and what it does as a member of them."""

import contextlib
import errno
import itertools
import json
import os
import signal
import struct
import subprocess
import time

import pytest
from buses import Bus
from flowctl_runs import Run, run  # pylint: disable=unused-import
from frames import BROADCAST, frame, station
from harness import binary, close
from procs import Child, as_user, has_open, paused, wait_for
from sysc import raises_errno

_numbers = itertools.count(1)
USER = 61102


@contextlib.contextmanager
def new_bus(daemon):
    """A bus, gone afterwards."""
    made = Bus(daemon, f"b{next(_numbers)}")
    os.mkdir(made.path)
    yield made
    made.wait_members(0)
    os.rmdir(made.path)


@pytest.fixture
def bus(daemon):
    with new_bus(daemon) as made:
        yield made


@pytest.fixture
def two(daemon):
    """Another one."""
    with new_bus(daemon) as made:
        yield made


def flowctl(daemon, *arguments, status=0):
    """What it prints."""
    code, out, err = Run(daemon.mount, "bus", *arguments).end(timeout_s=30)
    assert (code, err) == (status, "") if status == 0 else code == status, err
    return out if status == 0 else err


def values(out):
    return [json.loads(line) for line in out.splitlines()]


# --- list, members, watch ------------------------------------------------------------------------

def test_list_shows_every_bus(daemon, bus):
    reader, writer = bus.reader(), bus.writer()
    os.write(writer, b"x")
    row = next(row for row in values(flowctl(daemon, "list", "--json")) if row["bus"] == bus.name)
    assert (row["owner"], row["policy"], row["delivery"]) == ("root", "broadcast", "lossy")
    assert (row["members"], row["readers"], row["writers"], row["sent"]) == (2, 1, 1, 1)
    lines = flowctl(daemon, "list").splitlines()
    assert lines[0].split() == ["BUS", "OWNER", "POLICY", "DELIVERY", "MEMBERS", "READERS", "WRITERS",
                                "SENT", "DROPPED", "LAG"]
    assert f"{bus.name} root broadcast lossy 2 1 1 1 0 1".split() in [line.split() for line in lines]
    close(reader, writer)


def test_members_are_shown_with_their_lag(daemon, bus):
    reader, writer = bus.reader(), bus.writer()
    os.write(writer, b"x")
    os.write(writer, b"y")
    os.read(reader, 10)
    rows = values(flowctl(daemon, "members", bus.name, "--json"))
    assert [(row["user"], row["pid"], row["mode"], row["lag"], row["delivered"], row["dropped"])
            for row in rows] == [("root", os.getpid(), "r", 1, 1, 0), ("root", os.getpid(), "w", 0, 0, 0)]
    lines = [line.split() for line in flowctl(daemon, "members", bus.name).splitlines()]
    assert lines[0] == ["PORT", "USER", "PID", "MODE", "LAG", "DELIVERED", "DROPPED", "AGE"]
    assert [line[3:7] for line in lines[1:]] == [["r", "1", "1", "0"], ["w", "0", "0", "0"]]
    close(reader, writer)


def test_members_are_shown_again_and_again(daemon, bus, run):
    reader, writer = bus.reader(), bus.writer()
    rows = values(flowctl(daemon, "members", bus.name, "--delay", "0.01", "-n", "3", "--json"))
    assert [row["mode"] for row in rows] == ["r", "w"] * 3
    live = run("bus", "members", bus.name, "--delay", "0.01")
    lags = []
    while lags[-1:] != ["1"]:
        words = live.line().split()
        if words[3:4] == ["r"]:
            lags.append(words[4])
            if len(lags) == 2:
                os.write(writer, b"x")
    assert lags[:2] == ["0", "0"]
    code, _, err = live.end(signal.SIGINT)
    assert (code, err) == (0, "")
    close(reader, writer)


def test_a_live_view_ends_with_its_bus(daemon, run):
    bus = Bus(daemon, f"b{next(_numbers)}")
    os.mkdir(bus.path)
    live = run("bus", "members", bus.name, "--delay", "0.01")
    assert live.line().startswith("PORT")
    os.rmdir(bus.path)
    code, _, err = live.end()
    assert code == 1 and "No such file" in err


def watching(run, bus, *arguments):
    """`flowctl bus watch`, which has opened the stream."""
    watch = run("bus", "watch", bus.name, *arguments)
    wait_for(lambda: has_open(watch.process.pid, bus.file("events")), "flowctl to open the events")
    return watch


def test_watch_follows_a_bus_until_it_is_removed(daemon, run):
    bus = Bus(daemon, f"b{next(_numbers)}")
    os.mkdir(bus.path)
    watch = watching(run, bus, "--json")
    close(bus.reader())
    seen = [json.loads(watch.line()) for _ in range(2)]
    assert all(event["object"] == f"buses/{bus.name}" for event in seen)
    assert [event["readers"] for event in seen] == [1, 0]
    bus.wait_members(0)
    os.rmdir(bus.path)
    code, _, err = watch.end()
    assert (code, err) == (0, "")


def test_watch_ends_after_so_many_events(daemon, bus, run):
    watch = watching(run, bus, "-n", "1")
    reader = bus.reader()
    code, out, err = watch.end()
    assert (code, len(out.splitlines()), err) == (0, 1, "")
    close(reader)


# --- record and replay ---------------------------------------------------------------------------

def recorded(daemon, bus, path, messages, run):
    recorder = run("bus", "record", bus.name, str(path), "-n", str(len(messages)), "--json")
    bus.wait_members(1)
    writer = bus.writer()
    for message in messages:
        os.write(writer, message)
    close(writer)
    code, out, err = recorder.end()
    assert (code, err) == (0, "")
    assert json.loads(out) == {"messages": len(messages), "bytes": sum(map(len, messages)), "dropped": 0}


def test_what_is_recorded_is_replayed(daemon, bus, run, tmp_path):
    messages = [b"one", b"\0", bytes(range(256)) * 600, b"last"]
    recorded(daemon, bus, tmp_path / "file", messages, run)
    bus.wait_members(0)
    reader = bus.reader()
    counts = values(flowctl(daemon, "replay", bus.name, str(tmp_path / "file"), "--speed", "0", "--json"))
    assert counts == [{"messages": 4, "bytes": sum(map(len, messages)), "cut_off": 0}]
    assert [os.read(reader, 1 << 20) for _ in messages] == messages
    close(reader)


def test_a_recording_tells_when_each_message_came(bus, run, tmp_path):
    file = tmp_path / "file"
    recorder = run("bus", "record", bus.name, str(file), "-n", "3")
    bus.wait_members(1)
    writer, between = bus.writer(), [time.time_ns()]
    for message in (b"one", b"two", b"three"):
        os.write(writer, message)
        wait_for(lambda wanted=message: wanted in file.read_bytes(), "the message in the file")
        between.append(time.time_ns())
    close(writer)
    assert recorder.end()[0] == 0
    times = [high << 32 | low for high, low in (struct.unpack_from("=4xII", body) for body in blocks(file, 6))]
    assert sorted(between + times) == [between[0], times[0], between[1], times[1], between[2], times[2], between[3]]


def blocks(file, wanted):
    """The bodies of all blocks of this kind."""
    capture, at = file.read_bytes(), 0
    while at < len(capture):
        kind, length = struct.unpack_from("=II", capture, at)
        if kind == wanted:
            yield capture[at + 8:at + length - 4]
        at += length


def test_a_recording_of_an_ethernet_is_one_of_frames(daemon, bus, run, tmp_path):
    frames, file = [frame(BROADCAST, station(1), 10), frame(station(1), station(2))], tmp_path / "file"
    bus.set("policy", "switch")
    recorded(daemon, bus, file, frames, run)
    assert [struct.unpack_from("=H", body)[0] for body in blocks(file, 1)] == [1], "the link type"
    bus.wait_members(0)
    reader = bus.reader()
    flowctl(daemon, "replay", bus.name, str(file), "--speed", "0")
    assert [os.read(reader, 100) for _ in frames] == frames
    close(reader)


def test_a_recording_ends_well_when_it_is_interrupted(daemon, bus, run, tmp_path):
    recorder = run("bus", "record", bus.name, str(tmp_path / "file"))
    bus.wait_members(1)
    with open(bus.bus, "wb", buffering=0) as writer:
        writer.write(b"only one")
    wait_for(lambda: bus.stats()["delivered"] == 1, "the recorder to read it")
    assert recorder.end(signal.SIGINT) == (0, "messages 1, bytes 8, dropped 0\n", "")
    out = flowctl(daemon, "replay", bus.name, str(tmp_path / "file"))
    assert out == "messages 1, bytes 8, cut_off 0\n"


def test_a_recording_goes_through_a_pipe(daemon, bus, two):
    command = f"{binary('flowctl')} --mount {daemon.mount} bus"
    pipe = subprocess.Popen(["bash", "-c", f"{command} record {bus.name} - -n 1 | "
                                           f"{command} replay {two.name} -"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    bus.wait_members(1)
    two.wait_members(1)
    reader, writer = two.reader(), bus.writer()
    os.write(writer, b"hello")
    assert os.read(reader, 100) == b"hello"
    assert pipe.communicate(timeout=10) == ("messages 1, bytes 5, cut_off 0\n",
                                            "messages 1, bytes 5, dropped 0\n")
    close(reader, writer)


def pcapng(times_s, order="<", resolution=b"", message=b"tick"):
    """A file as another program might write it."""
    def block(kind, body):
        length = 12 + len(body)
        return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)
    section = block(0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1))
    option = b""
    if resolution:
        option = struct.pack(order + "HH", 9, 1) + resolution + bytes(3) + bytes(4)
    interface = block(1, struct.pack(order + "HHI", 147, 0, 0) + option)
    units = 10**6 if not resolution else 2**20
    packets = [block(6, struct.pack(order + "IIIII", 0, int(time * units) >> 32,
                                    int(time * units) & 0xffffffff, len(message), len(message))
                     + message + bytes(-len(message) % 4)) for time in times_s]
    return section + block(0x0bad, b"else") + interface + b"".join(packets)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("resolution", [b"", b"\x94"], ids=["micro", "binary"])
def test_replay_keeps_time(daemon, bus, tmp_path, order, resolution):
    file = tmp_path / "file"
    file.write_bytes(pcapng([5000, 5001, 5003], order, resolution, b"tick!"))
    reader = bus.reader()
    start = time.monotonic()
    flowctl(daemon, "replay", bus.name, str(file), "--speed", "10")
    assert time.monotonic() - start >= 0.3  # three seconds, ten times faster
    assert [os.read(reader, 10) for _ in range(3)] == [b"tick!"] * 3
    close(reader)


@pytest.mark.parametrize("damage", [b"", b"not a capture", "first", "cut", "length", "interface"])
def test_a_file_that_is_none_is_refused(daemon, bus, tmp_path, damage):
    good = pcapng([1, 2])
    spoilt = {"first": good[32:], "cut": good[:-6], "length": good[:4] + b"\xff" + good[5:],
              "interface": good.replace(struct.pack("<II", 1, 20), struct.pack("<II", 7, 20))}
    file = tmp_path / "file"
    file.write_bytes(damage if isinstance(damage, bytes) else spoilt[damage])
    err = flowctl(daemon, "replay", bus.name, str(file), "--speed", "0", status=1)
    assert "pcapng" in err


def test_what_was_cut_off_is_left_out(daemon, bus, run, tmp_path):
    recorded(daemon, bus, tmp_path / "file", [bytes(300_000), b"short"], run)
    out = flowctl(daemon, "replay", bus.name, str(tmp_path / "file"))
    assert out == "messages 1, bytes 5, cut_off 1\n"


def test_a_recorder_that_was_cut_off_says_why(bus, run):
    bus.set("delivery", "lossless").set("depth", 4096).set("evict", 1000)
    recorder = run("bus", "record", bus.name, "/dev/null")
    bus.wait_members(1)
    writer = bus.writer(os.O_NONBLOCK)
    with paused(recorder.process.pid):
        with raises_errno(errno.EAGAIN):
            while True:
                os.write(writer, bytes(100))
        bus.wait_members(1)
    code, _, err = recorder.end()
    assert code == 1
    assert "too slow for longer than `evict`" in err
    close(writer)


# --- link ----------------------------------------------------------------------------------------

def linked(run, one, two, *arguments):
    link = run("bus", "link", one.name, two.name, *arguments)
    one.wait_members(1)
    two.wait_members(1)
    return link


def test_a_link_carries_both_ways_and_nothing_back(bus, two, run):
    link = linked(run, bus, two)
    here, there = bus.join(), two.join()
    os.write(here, b"there")
    assert os.read(there, 100) == b"there"
    os.write(there, b"and back")
    assert os.read(here, 100) == b"and back"
    code, out, err = link.end(signal.SIGINT)
    assert (code, err) == (0, "")
    assert out == (f"1 messages to buses/{bus.name}, 0 too long for it\n"
                   f"1 messages to buses/{two.name}, 0 too long for it\n")
    close(here, there)


def test_a_link_of_lossless_buses_loses_nothing(bus, two, run):
    for one in (bus, two):
        one.set("delivery", "lossless").set("depth", 4096)
    link = linked(run, bus, two, "--json")
    reader, writer = two.reader(), bus.writer(os.O_NONBLOCK)
    sent = 0
    try:
        while True:
            os.write(writer, b"%5d" % sent)
            sent += 1
    except BlockingIOError:
        pass
    assert [int(os.read(reader, 10)) for _ in range(sent)] == list(range(sent))
    assert values(link.end(signal.SIGTERM)[1])[1] == {"bus": two.name, "sent": sent, "too_long": 0}
    close(reader, writer)


def test_a_message_too_long_for_the_other_bus_is_counted(bus, two, run):
    two.set("mtu", 10)
    link = linked(run, bus, two, "--json")
    reader, writer = two.reader(), bus.writer()
    os.write(writer, bytes(11))
    os.write(writer, b"short")
    assert os.read(reader, 100) == b"short"
    assert values(link.end(signal.SIGINT)[1])[1] == {"bus": two.name, "sent": 1, "too_long": 1}
    close(reader, writer)


def test_a_link_that_was_cut_off_joins_again(bus, two, run):
    bus.set("delivery", "lossless").set("depth", 4096)
    link = linked(run, bus, two)
    writer = bus.writer(os.O_NONBLOCK)
    bus.set("evict", 1000)
    with paused(link.process.pid):
        with raises_errno(errno.EAGAIN):
            while True:
                os.write(writer, bytes(100))
        bus.wait_members(1)
    assert link.process.stderr.readline().startswith(f"flowctl: buses/{bus.name} has gone: ")
    assert link.process.stderr.readline() == f"flowctl: buses/{bus.name} is joined again\n"
    bus.set("evict", "max")
    reader = two.reader()
    os.write(writer, b"once more")
    while os.read(reader, 1000) != b"once more":
        pass
    assert link.end(signal.SIGINT)[0] == 0
    close(reader, writer)


# --- link through a flow -------------------------------------------------------------------------

def cable(run, one, two, name, *arguments):
    """Two links, the ends of one flow: that which accepts first."""
    ends = [run("bus", "link", bus.name, f"--{how}", name, *arguments)
            for bus, how in ((one, "accept"), (two, "dial"))]
    one.wait_members(1)
    two.wait_members(1)
    return ends


@pytest.fixture
def wire_name(name):
    """A name at which dials wait for as long as it takes."""
    name.set("dial_timeout", "max")
    return name.name


def test_a_link_through_a_flow_carries_both_ways_and_nothing_back(bus, two, wire_name, run):
    ends = cable(run, bus, two, wire_name)
    here, there = bus.join(), two.join()
    for number, length in enumerate((1, 1000, 70_000, 900_000)):
        message = bytes([number]) * length
        os.write(here, message)
        assert os.read(there, 1 << 20) == message
        os.write(there, message)
        assert os.read(here, 1 << 20) == message
    (_, accepted, _), (code, dialled, err) = [end.end(signal.SIGINT) for end in ends]
    assert accepted == (f"4 messages to buses/{bus.name}, 0 too long for it\n"
                        f"4 messages to names/{wire_name}, 0 too long for it\n")
    assert (code, dialled.count("\n")) == (0, 2)
    assert err in ("", f"flowctl: names/{wire_name} has gone: its other end has closed; it will be joined again\n")
    close(here, there)


def test_a_link_through_a_flow_of_lossless_buses_loses_nothing(bus, two, wire_name, run):
    for one in (bus, two):
        one.set("delivery", "lossless").set("depth", 4096)
    cable(run, bus, two, wire_name)
    reader, writer = two.reader(), bus.writer()

    def send():
        for number in range(3000):
            os.write(writer, b"%5d" % number)
    child = Child(send, keep=[writer])
    assert [int(os.read(reader, 10)) for _ in range(3000)] == list(range(3000))
    child.result()
    close(reader, writer)


def test_a_flow_that_ends_is_dialled_again(bus, two, wire_name, run):
    accepting, dialling = cable(run, bus, two, wire_name)
    here, there = bus.join(), two.join()
    os.write(here, b"first")
    assert os.read(there, 100) == b"first"
    accepting.end(signal.SIGKILL)
    assert dialling.process.stderr.readline() == (
        f"flowctl: names/{wire_name} has gone: its other end has closed; it will be joined again\n")
    bus.wait_members(1)
    run("bus", "link", bus.name, "--accept", wire_name)
    assert dialling.process.stderr.readline() == f"flowctl: names/{wire_name} is joined again\n"
    os.write(there, b"second")
    assert os.read(here, 100) == b"second"
    os.write(here, b"third")
    assert os.read(there, 100) == b"third"
    close(here, there)


def test_a_link_waits_for_who_accepts(bus, two, name, run):
    name.set("dial_timeout", "0")
    dialling = run("bus", "link", two.name, "--dial", name.name)
    assert dialling.process.stderr.readline().startswith(f"flowctl: names/{name.name} is not there yet: ")
    reader = two.reader()
    run("bus", "link", bus.name, "--accept", name.name)
    assert dialling.process.stderr.readline() == f"flowctl: names/{name.name} is joined\n"
    writer = bus.writer()
    os.write(writer, b"hello")
    assert os.read(reader, 100) == b"hello"
    close(reader, writer)


def test_a_name_that_a_link_made_goes_with_it(daemon, bus, run):
    path = daemon.path("names", f"{bus.name}-cable")
    link = run("bus", "link", bus.name, "--accept", f"{bus.name}-cable")
    bus.wait_members(1)
    assert os.path.isdir(path)
    assert link.end(signal.SIGINT)[0] == 0
    assert not os.path.exists(path)


def test_a_peer_that_only_sends_or_only_receives_is_a_cable_of_one_way(bus, wire_name, run):
    run("bus", "link", bus.name, "--accept", wire_name)
    bus.wait_members(1)
    member = bus.join()
    dial = bus.daemon.path("names", wire_name, "dial")
    with open(dial, "wb", buffering=0) as peer:
        peer.write(b"to the bus")
        peer.write(b"and more")
    assert [os.read(member, 100) for _ in range(2)] == [b"to the bus", b"and more"]
    with open(dial, "rb", buffering=0) as peer:
        os.write(member, b"from the bus")
        assert peer.read(100) == b"from the bus"
    close(member)


def test_a_loop_through_a_flow_is_shut_as_any_other(bus, two, wire_name, run):
    for one in (bus, two):
        one.set("policy", "switch")
    linked(run, bus, two)
    for one, how in ((bus, "accept"), (two, "dial")):
        run("bus", "link", one.name, f"--{how}", wire_name)
        one.wait_members(2)
    streams = [os.open(one.file("events"), os.O_RDONLY | os.O_NONBLOCK) for one in (bus, two)]
    member = bus.join()
    os.write(member, frame(BROADCAST, station(1)))

    def shut():
        lines = []
        for stream in streams:
            with contextlib.suppress(BlockingIOError):
                lines += os.read(stream, 65536).decode().splitlines()
        return [line for line in lines if line.endswith("port=2 reason=loop")]
    wait_for(shut, "a port to be shut")
    os.write(member, frame(BROADCAST, station(1), payload=b"later"))
    other = two.join()
    os.write(other, frame(BROADCAST, station(2), payload=b"answer"))
    while b"answer" not in os.read(member, 100):
        pass
    close(member, other, *streams)


# --- what is refused -----------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, status, words", [
    (["members", "nobody"], 1, "no such bus; `flowctl bus list`"),
    (["watch", "nobody"], 1, "no such bus; `flowctl bus list`"),
    (["link", "nobody", "nobody2"], 1, "no such bus; `flowctl bus list`"),
    (["record", "nobody", "/dev/null"], 1, "no such bus"),
    (["replay", "nobody", "/nonexistent"], 1, "cannot read /nonexistent"),
    (["link", "same", "same"], 2, "linked to itself"),
    (["link", "nobody", "--dial", "nobody"], 1, "no such bus"),
    (["link", "one", "two", "--dial", "name"], 2, "--accept NAME"),
    (["link", "one"], 2, "--accept NAME"),
    (["link", "one", "--dial", "a/b"], 2, "is not a name"),
    (["link", "one", "--dial", "name", "--accept", "name"], 2, "excludes"),
    (["list", "--dial", "name"], 2, "for a link"),
    (["watch", "one", "--delay", "1"], 2, "shows a table"),
    (["list", "--delay", "0"], 2, "not in range"),
    (["members"], 2, "flowctl bus members BUS"),
    (["list", "more"], 2, "flowctl bus list"),
    (["record", "a/b", "file"], 2, "is not a name"),
    (["fly"], 2, "fly"),
])
def test_mistakes_are_told(daemon, arguments, status, words):
    assert words in flowctl(daemon, *arguments, status=status)


def test_a_name_that_is_not_there_cannot_be_dialled(daemon, bus):
    assert "no such name" in flowctl(daemon, "link", bus.name, "--dial", "nobody", status=1)


def test_who_may_not_receive_is_told_what_to_do(daemon, bus):
    done = as_user(USER, lambda: Run(daemon.mount, "bus", "record", bus.name, "/dev/null").end())
    assert done[0] == 1
    assert "chmod or setfacl on its bus file" in done[2]
