# SPDX-License-Identifier: BSD-3-Clause
"""Attribute files: one value, set at once, checked, read as a snapshot."""

import errno
import fcntl
import os

import pytest
from harness import close, read_values, track
from procs import as_user, sh
from sysc import copy_file_range, raises_errno, splice

ALICE = 61001
NUMBERS = ["backlog", "dial_timeout", "mtu", "depth", "direct"]
DEFAULTS = {"backlog": "128", "dial_timeout": "10000000", "balance": "fifo", "mtu": "917504",
            "direct": "1"}


def raw(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("attribute", DEFAULTS)
def test_the_default_is_the_documented_one(name, attribute):
    assert raw(name.file(attribute)) == DEFAULTS[attribute].encode() + b"\n"


def test_depth_has_a_default_that_holds_a_message(name):
    assert int(name.get("depth")) >= 917504


def test_qos_is_key_value_lines(name):
    assert set(read_values(name.file("qos"))) == {"loss", "ordered", "delay", "bandwidth", "timeout"}


@pytest.mark.parametrize("attribute, value", [
    ("backlog", "1"), ("backlog", "max"), ("dial_timeout", "0"), ("dial_timeout", "max"),
    ("dial_timeout", "1"), ("balance", "round-robin"), ("balance", "least-flows"),
    ("balance", "fifo"), ("mtu", "1"), ("mtu", "917504"), ("depth", "4096"),
    ("direct", "0"), ("direct", "1")])
def test_a_value_is_read_back_as_written(name, attribute, value):
    name.set(attribute, value)
    assert raw(name.file(attribute)) == value.encode() + b"\n"


@pytest.mark.parametrize("text", ["7", "7\n", "  7", "7  \n", "\t7\n\n", "\r\n7 \t"])
def test_surrounding_white_space_is_ignored(name, text):
    assert name.set("backlog", text).get("backlog") == "7"


@pytest.mark.parametrize("attribute", NUMBERS)
@pytest.mark.parametrize("bad", ["x", "7x", "-1", "+7", "0x10", "7 8", "1e3", "1.5", " ", "\n", "MAX",
                                 "7\0", "７"])
def test_what_cannot_be_parsed_gives_einval_and_changes_nothing(name, attribute, bad):
    before = name.get(attribute)
    with raises_errno(errno.EINVAL):
        name.set(attribute, bad)
    assert name.get(attribute) == before


@pytest.mark.parametrize("attribute, bad", [
    ("mtu", "0"), ("mtu", "917505"), ("mtu", "max"), ("mtu", "18446744073709551616"),
    ("backlog", "18446744073709551616"), ("backlog", "9" * 30),
    ("dial_timeout", "18446744073709551616"), ("depth", "0"), ("depth", "9" * 25), ("direct", "2")])
def test_what_is_out_of_range_gives_erange_and_changes_nothing(name, attribute, bad):
    before = name.get(attribute)
    with raises_errno(errno.ERANGE):
        name.set(attribute, bad)
    assert name.get(attribute) == before


@pytest.mark.parametrize("bad", ["lifo", "FIFO", "fifo fifo", "round robin", "1"])
def test_an_unknown_balance_gives_einval(name, bad):
    with raises_errno(errno.EINVAL):
        name.set("balance", bad)
    assert name.get("balance") == "fifo"


def test_a_write_sets_the_whole_of_qos(name):
    before = read_values(name.file("qos"))
    name.set("qos", "loss 10\ndelay 2000\n")
    assert read_values(name.file("qos")) == {**before, "loss": "10", "delay": "2000"}
    name.set("qos", "bandwidth 5")
    assert read_values(name.file("qos")) == {**before, "bandwidth": "5"}


@pytest.mark.parametrize("bad", ["loss", "loss x", "speed 3", "loss 1\nspeed 3", "loss 1 2",
                                 "loss 1\nloss 2"])
def test_a_bad_qos_changes_nothing(name, bad):
    before = read_values(name.file("qos"))
    with raises_errno(errno.EINVAL):
        name.set("qos", bad)
    assert read_values(name.file("qos")) == before


def test_qos_out_of_range_changes_nothing(name):
    before = read_values(name.file("qos"))
    with raises_errno(errno.ERANGE):
        name.set("qos", "delay 5\nloss 1000001")
    assert read_values(name.file("qos")) == before


def test_the_reported_size_is_4096(name):
    for attribute in (*NUMBERS, "balance", "qos", "stats"):
        assert os.stat(name.file(attribute)).st_size == 4096


def test_a_read_is_a_snapshot(name):
    fd = track(os.open(name.file("dial_timeout"), os.O_RDONLY))
    assert os.read(fd, 3) == b"100"
    name.set("dial_timeout", "77")
    assert os.read(fd, 100) == b"00000\n"
    assert os.read(fd, 100) == b""


def test_a_read_at_offset_0_takes_a_new_snapshot(name):
    fd = track(os.open(name.file("backlog"), os.O_RDWR))
    assert os.read(fd, 100) == b"128\n"
    name.set("backlog", "5")
    assert os.pread(fd, 100, 0) == b"5\n"
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"6")
    os.lseek(fd, 0, os.SEEK_SET)
    assert os.read(fd, 100) == b"6\n"


def test_two_descriptors_have_snapshots_of_their_own(name):
    first = track(os.open(name.file("backlog"), os.O_RDONLY))
    assert os.read(first, 1) == b"1"
    name.set("backlog", "999")
    second = track(os.open(name.file("backlog"), os.O_RDONLY))
    assert os.read(second, 100) == b"999\n"
    assert os.read(first, 100) == b"28\n"


def test_o_trunc_is_accepted_and_ignored(name):
    os.close(os.open(name.file("backlog"), os.O_WRONLY | os.O_TRUNC))
    assert name.get("backlog") == "128"
    os.truncate(name.file("backlog"), 0)
    assert name.get("backlog") == "128"
    assert os.stat(name.file("backlog")).st_size == 4096


def test_the_shell_sets_values(name):
    sh(f"echo 9 > {name.file('backlog')}")
    assert sh(f"cat {name.file('backlog')}").out == "9\n"
    sh(f"echo 10 >> {name.file('backlog')}")
    assert name.get("backlog") == "10"
    sh(f"echo 11 | tee {name.file('backlog')} > /dev/null")
    assert name.get("backlog") == "11"
    sh(f"printf 12 | dd of={name.file('backlog')} status=none")
    assert name.get("backlog") == "12"


def test_a_bad_value_shows_in_the_shell(name):
    done = sh(f"echo nonsense > {name.file('backlog')}", check=False)
    assert done.status == 1 and "Invalid argument" in done.err


@pytest.mark.parametrize("size", [8192, 2 << 20])
def test_a_long_write_is_refused(name, size):
    with raises_errno(errno.EINVAL, errno.ERANGE):
        name.set("backlog", "1 " * (size // 2))
    assert name.get("backlog") == "128"


def test_a_write_sets_the_value_at_any_offset(name):
    fd = track(os.open(name.file("backlog"), os.O_RDWR))
    os.pwrite(fd, b"7", 5)
    assert name.get("backlog") == "7"
    os.read(fd, 100)
    os.write(fd, b"8")
    assert name.get("backlog") == "8"


def test_a_value_of_several_lines_may_come_line_by_line(name):
    sh(f"printf 'loss 5\\nordered 0\\n' > {name.file('qos')}")
    assert name.get("qos").splitlines()[:2] == ["loss 5", "ordered 0"]
    sh(f"echo delay 7 > {name.file('qos')}")
    assert name.get("qos").splitlines()[:3] == ["loss 0", "ordered 1", "delay 7"]


def test_a_value_that_grows_without_end_is_refused(name):
    fd = track(os.open(name.file("qos"), os.O_WRONLY))
    with raises_errno(errno.EINVAL):
        for _ in range(1000):
            os.write(fd, b"\n" * 100)


def test_splice_sendfile_and_copy_serve_an_attribute(name, tmp_path):
    source = track(os.open(name.file("backlog"), os.O_RDONLY))
    readable, writable = map(track, os.pipe())
    assert splice(source, writable, 4096) == 4
    assert os.read(readable, 100) == b"128\n"
    target = track(os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT))
    assert os.sendfile(target, source, 0, 4096) == 4
    sh(f"cp {name.file('backlog')} {tmp_path / 'copied'}")
    assert raw(tmp_path / "copied") == b"128\n"


def test_copy_file_range_does_not_make_things_up(name, tmp_path):
    source = track(os.open(name.file("backlog"), os.O_RDONLY))
    target = track(os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT))
    try:
        assert copy_file_range(source, target, 4096) == 4
    except OSError as error:
        assert error.errno in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL)
    assert raw(tmp_path / "copy") in (b"", b"128\n")


def test_flock_is_real(name):
    first = track(os.open(name.file("mtu"), os.O_RDWR))
    second = track(os.open(name.file("mtu"), os.O_RDWR))
    fcntl.flock(first, fcntl.LOCK_EX)
    with raises_errno(errno.EAGAIN):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    close(first)
    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_record_locks_are_real(name):
    fd = track(os.open(name.file("mtu"), os.O_RDWR))
    fcntl.lockf(fd, fcntl.LOCK_EX)

    def other():
        again = os.open(name.file("mtu"), os.O_RDWR)
        fcntl.lockf(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with raises_errno(errno.EAGAIN, errno.EACCES):
        as_user(0, other)


def test_stats_is_read_only(name):
    with raises_errno(errno.EACCES):
        as_user(ALICE, os.open, name.file("stats"), os.O_WRONLY)
    fd = None
    with raises_errno(errno.EACCES, errno.EINVAL, errno.EPERM):
        fd = track(os.open(name.file("stats"), os.O_WRONLY))
        os.write(fd, b"1")


def test_stats_begin_at_zero(name):
    stats = name.stats()
    assert stats and set(stats.values()) == {"0"}


def test_a_stranger_reads_and_does_not_write(name):
    assert as_user(ALICE, raw, name.file("backlog")) == b"128\n"
    with raises_errno(errno.EACCES):
        as_user(ALICE, name.set, "backlog", "1")


def test_a_changed_value_is_seen_by_everybody_at_once(name):
    for value in range(1, 200):
        name.set("backlog", value)
        assert raw(name.file("backlog")) == b"%d\n" % value
    assert as_user(ALICE, raw, name.file("backlog")) == b"199\n"


def test_a_new_mtu_holds_for_later_flows(name):
    old, _ = name.pair()
    name.set("mtu", 10)
    new, server = name.pair()
    assert os.write(old, b"x" * 100) == 100
    with raises_errno(errno.EMSGSIZE):
        os.write(new, b"x" * 11)
    assert os.write(new, b"x" * 10) == 10
    assert os.read(server, 100) == b"x" * 10


def test_a_depth_below_one_message_still_passes_one(name):
    name.set("depth", 4096)
    client, server = name.pair()
    assert os.write(client, b"x" * 100000) == 100000
    total = b""
    while len(total) < 100000:
        total += os.read(server, 100000)
    assert total == b"x" * 100000
