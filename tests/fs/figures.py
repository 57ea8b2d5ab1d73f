# SPDX-License-Identifier: BSD-3-Clause
"""What tests measure on their way: shown after the run and kept, never asserted.

Kept in the file that FLOWFS_FIGURES names, one JSON object a line.
"""

import json
import os

_recorded = []


def record(what, **values):
    _recorded.append((what, values))


def note_longest(what, seconds):
    """Keeps the longest of many times."""
    for known, values in _recorded:
        if known == what:
            values["ms"] = max(values["ms"], 1000 * seconds)
            values["times"] += 1
            return
    record(what, ms=1000 * seconds, times=1)


def show_and_keep(write_line):
    """Hands each figure to `write_line` and appends them to the file."""
    for what, values in _recorded:
        write_line(f"measured: {what}: " + ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()))
    path = os.environ.get("FLOWFS_FIGURES")
    if path and _recorded:
        lines = "".join(json.dumps({"what": what, **values}) + "\n" for what, values in _recorded)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(fd, lines.encode())  # one write: test files may run at once
        os.close(fd)
    _recorded.clear()
