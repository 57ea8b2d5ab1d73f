# SPDX-License-Identifier: BSD-3-Clause
"""Lines of results.json, as measure.hpp makes them, from what a Python program has measured."""

from statistics import median


def _spread(values):
    middle = median(values)
    return round((max(values) - min(values)) / middle, 3) if middle else 0


def _line(name, metric, size, peer, target):
    return {"name": name, "mode": "free", "bytes": size, "metric": metric, "value": None, "spread": None, "peer": peer,
            "peer_value": None, "peer_spread": None, "ratio": None, "target": target, "met": None}


def compared(name, ours, peer, theirs, *, metric, size, target=None, at_most=True):
    """A round's values of ours and of a peer; the target is of the ratio of their medians."""
    line = _line(name, metric, size, peer, target)
    ratio = median(ours) / median(theirs) if median(theirs) else 0
    line.update(value=round(median(ours), 3), spread=_spread(ours), peer_value=round(median(theirs), 3),
                peer_spread=_spread(theirs), ratio=round(ratio, 3))
    if target is not None:
        line["met"] = ratio <= target if at_most else ratio >= target
    return line


def skipped(name, peer, why, *, metric, size, target=None):
    return {**_line(name, metric, size, peer, target), "skipped": why}
