# SPDX-License-Identifier: BSD-3-Clause
"""A strict reader of the Prometheus text format, version 0.0.4."""

import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_SAMPLE = re.compile(rf"^({_NAME})(?:\{{(.*)\}})? ([^ ]+)(?: -?\d+)?$")
_LABELS = re.compile(rf"^(?:{_LABEL}(?:,{_LABEL})*,?)?$")
_TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
_SUFFIXES = ("_bucket", "_sum", "_count")


class Exposition:
    def __init__(self):
        self.types, self.helps, self.samples = {}, {}, {}

    def family_of(self, name):
        if name in self.types:
            return name
        for suffix in _SUFFIXES:
            base = name.removesuffix(suffix)
            if base != name and self.types.get(base) in ("histogram", "summary"):
                return base
        return None


def parse(text):
    """Everything in `text`; ValueError with the line where it breaks the format."""
    if text and not text.endswith("\n"):
        raise ValueError("the last line has no newline")
    found = Exposition()
    finished, current = set(), None
    for line in text.splitlines():
        if not line:
            continue
        if line.startswith("#"):
            _comment(found, line)
            continue
        match = _SAMPLE.match(line)
        if not match or not _LABELS.match(match[2] or ""):
            raise ValueError(f"no sample: {line!r}")
        family = found.family_of(match[1])
        if family is None:
            raise ValueError(f"a sample without a TYPE before it: {line!r}")
        if family != current:
            if family in finished:
                raise ValueError(f"the samples of {family} are not together: {line!r}")
            finished.add(current)
            current = family
        key = (match[1], frozenset(re.findall(_LABEL, match[2] or "")))
        if key in found.samples:
            raise ValueError(f"twice: {line!r}")
        found.samples[key] = float(match[3])
        if found.types[family] == "counter" and not found.samples[key] >= 0:
            raise ValueError(f"a counter below zero: {line!r}")
    return found


def _comment(found, line):
    match = re.match(rf"^# (HELP|TYPE) ({_NAME}) (.+)$", line)
    if not match:
        return  # any other comment
    kind, name, rest = match.groups()
    table = found.helps if kind == "HELP" else found.types
    if name in table:
        raise ValueError(f"a second {kind}: {line!r}")
    if kind == "TYPE" and rest not in _TYPES:
        raise ValueError(f"no such type: {line!r}")
    table[name] = rest
