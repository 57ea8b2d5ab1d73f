# SPDX-License-Identifier: BSD-3-Clause
"""The right to manage a bus is the x bit of `bus`; its attributes follow at once."""

import errno
import itertools
import os
import stat

import acls
import pytest
from buses import Bus
from harness import read_text, write_text
from procs import Child, as_user
from sysc import raises_errno

ALICE, BOB, STAFF = 61001, 61002, 61050
ATTRIBUTES = ["policy", "delivery", "mtu", "depth", "history", "writers", "ports", "evict"]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("umask, expected", [(0o022, 0o700), (0o002, 0o760), (0o000, 0o766), (0o027, 0o700)])
def test_the_mode_of_mkdir_says_who_joins(daemon, umask, expected):
    bus = Bus(daemon, f"umask{umask:o}")
    as_user(ALICE, os.mkdir, bus.path, umask=umask)
    assert mode(bus.path) == 0o777 & ~umask
    assert mode(bus.bus) == expected
    assert os.stat(bus.bus).st_uid == ALICE


def test_attributes_are_writable_where_bus_has_x_and_readable_elsewhere(bus):
    for bits in itertools.product((0, 1, 2, 4, 5, 6, 7), repeat=3):
        os.chmod(bus.bus, bits[0] << 6 | bits[1] << 3 | bits[2])
        wanted = sum((6 if bit & 1 else 4) << shift for bit, shift in zip(bits, (6, 3, 0)))
        assert mode(bus.file("mtu")) == wanted
        wanted = sum((bit & 4) << shift for bit, shift in zip(bits, (6, 3, 0)))
        assert [mode(bus.file(name)) for name in ("events", "log", "pcap")] == [wanted] * 3
    os.chmod(bus.bus, 0o751)
    assert {mode(bus.file(name)) for name in ATTRIBUTES} == {0o666}
    assert (mode(bus.file("members")), mode(bus.file("stats"))) == (0o444, 0o444)


def test_x_alone_manages_and_gives_no_traffic(open_bus):
    os.chmod(open_bus.bus, 0o701)

    def alice():
        write_text(open_bus.file("mtu"), "99")
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            with raises_errno(errno.EACCES):
                os.open(open_bus.bus, flags)
        with raises_errno(errno.EACCES):
            os.open(open_bus.file("events"), os.O_RDONLY)
        return read_text(open_bus.file("mtu"))
    assert as_user(ALICE, alice) == "99"
    os.chmod(open_bus.bus, 0o706)
    with raises_errno(errno.EACCES):
        as_user(ALICE, write_text, open_bus.file("mtu"), "98")
    assert as_user(ALICE, read_text, open_bus.file("mtu")) == "99"


def test_a_change_is_seen_at_once_by_everybody(open_bus):
    def watch(readable, writable):
        """Answers each byte with whether it may manage now."""
        while os.read(readable, 1):
            os.write(writable, b"y" if os.access(open_bus.file("depth"), os.W_OK) else b"n")
    asked, answered = os.pipe(), os.pipe()
    Child(watch, asked[0], answered[1], uid=BOB, keep=[asked[0], answered[1]])
    for bits in (0o700, 0o701, 0o770, 0o707, 0o700, 0o711) * 5:
        os.chmod(open_bus.bus, bits)
        os.write(asked[1], b"?")
        assert os.read(answered[0], 1) == (b"y" if bits & 1 else b"n")
    for fd in (*asked, *answered):
        os.close(fd)


def test_what_is_derived_cannot_be_changed(bus):
    acl = acls.acl(0o600, users=[(ALICE, 6)], mask=7)
    for name in (*ATTRIBUTES, "events"):
        for call in (lambda path: os.chmod(path, 0o666), lambda path: os.chown(path, ALICE, ALICE),
                     lambda path: os.setxattr(path, "system.posix_acl_access", acl)):
            with raises_errno(errno.EPERM):
                call(bus.file(name))
    os.chmod(bus.file("members"), 0o400)
    assert mode(bus.file("members")) == 0o400


def test_a_list_on_bus_is_a_list_on_the_attributes(open_bus):
    os.chmod(open_bus.bus, 0o700)
    with raises_errno(errno.EACCES):
        as_user(ALICE, write_text, open_bus.file("depth"), "1000")
    acl = acls.acl(0o700, users=[(ALICE, 1), (BOB, 4)], mask=7)
    os.setxattr(open_bus.bus, "system.posix_acl_access", acl)
    as_user(ALICE, write_text, open_bus.file("depth"), "1000")
    with raises_errno(errno.EACCES):
        as_user(BOB, write_text, open_bus.file("depth"), "2000")
    as_user(BOB, lambda: os.close(os.open(open_bus.file("events"), os.O_RDONLY)))
    with raises_errno(errno.EACCES):
        as_user(ALICE, os.open, open_bus.file("events"), os.O_RDONLY)
    acl = acls.acl(0o700, users=[(ALICE, 7)], mask=6)
    os.setxattr(open_bus.bus, "system.posix_acl_access", acl)
    with raises_errno(errno.EACCES):
        as_user(ALICE, write_text, open_bus.file("depth"), "3000")
    os.removexattr(open_bus.bus, "system.posix_acl_access")
    assert "system.posix_acl_access" not in os.listxattr(open_bus.file("depth"))
    assert read_text(open_bus.file("depth")) == "1000"


def test_a_new_owner_of_bus_is_the_owner_of_the_attributes(open_bus):
    os.chown(open_bus.bus, ALICE, STAFF)
    found = os.stat(open_bus.file("ports"))
    assert (found.st_uid, found.st_gid) == (ALICE, STAFF)
    os.chmod(open_bus.bus, 0o710)
    as_user(ALICE, write_text, open_bus.file("ports"), "3")
    as_user(BOB, write_text, open_bus.file("ports"), "4", groups=[STAFF])
    with raises_errno(errno.EACCES):
        as_user(BOB, write_text, open_bus.file("ports"), "5")


def test_open_members_go_on_after_chmod(bus):
    writer, reader = bus.writer(), bus.reader()
    os.chmod(bus.bus, 0)
    os.write(writer, b"still")
    assert os.read(reader, 100) == b"still"
