# SPDX-License-Identifier: BSD-3-Clause
"""Requests above a user's rate wait, and nobody else notices (threats.md R7)."""

import os

import pytest
from procs import Child, as_user

ALICE = 61091
BURST = 40


@pytest.fixture(scope="module")
def config():
    return "[limits]\nrequests_per_second = 100\n"


def held_back(daemon):
    return daemon.metrics()["flowfs_throttled_total", frozenset()]


def read_often(path, count):
    fd = os.open(path, os.O_RDONLY)
    values = {os.pread(fd, 100, 0) for _ in range(count)}
    os.close(fd)
    return values


def test_what_is_over_the_rate_waits_and_is_answered(daemon, name):
    before = held_back(daemon)
    assert as_user(ALICE, read_often, name.file("mtu"), BURST) == {b"917504\n"}
    assert held_back(daemon) > before


def test_root_is_never_held_back(daemon, name):
    before = held_back(daemon)
    read_often(name.file("mtu"), 500)
    assert held_back(daemon) == before


def test_who_is_held_back_dies_at_once(name):
    child = Child(read_often, name.file("mtu"), 100_000, uid=ALICE)
    child.finished(0.3)
    child.assert_dies()
