# SPDX-License-Identifier: BSD-3-Clause
"""buses/BUS of a daemon."""

import os
from collections import namedtuple

from harness import Place, read_text, read_values, track
from procs import wait_for
from sysc import open_once

# What keeping a message costs beside its bytes, as `depth` counts it.
RECORD = 64

Member = namedtuple("Member", "port uid pid mode lag delivered dropped age")


class Bus(Place):
    """buses/BUS of a daemon."""

    def __init__(self, daemon, name):
        super().__init__(daemon, "buses", name)
        self.bus = self.file("bus")

    def stats(self):
        return {key: int(value) for key, value in read_values(self.file("stats")).items()}

    def members(self):
        """By port number."""
        lines = [line.split() for line in read_text(self.file("members")).splitlines()]
        members = [Member(*(word if i == 3 else int(word) for i, word in enumerate(line)))
                   for line in lines]
        return {member.port: member for member in members}

    def join(self, flags=os.O_RDWR):
        return track(open_once(self.bus, flags))

    def reader(self, more=0):
        return self.join(os.O_RDONLY | more)

    def writer(self, more=0):
        return self.join(os.O_WRONLY | more)

    def wait_members(self, count):
        """A close is told to the daemon afterwards."""
        wait_for(lambda: len(self.members()) == count, f"{count} members")

    @staticmethod
    def check_event_counts(lines):
        """Each line of `events` tells how many there are after what it tells of, which is never less than none."""
        readers = writers = 0
        for line in lines:
            _, kind, _, _, _, mode, *counts = line.split()
            step = {"join": 1, "leave": -1}[kind]
            readers += step * ("r" in mode.removeprefix("mode="))
            writers += step * ("w" in mode.removeprefix("mode="))
            assert counts == [f"readers={readers}", f"writers={writers}"]
            assert readers >= 0 and writers >= 0

    def check_accounts(self):
        """sent = delivered + dropped, but for what is still to be read."""
        for member in self.members().values():
            counts = read_values(self.file("port", str(member.port), "stats"))
            assert int(counts["delivered"]) == member.delivered
        stats = self.stats()
        members = self.members().values()
        assert stats["lag"] == sum(member.lag for member in members)
        assert stats["members"] == len(members)
