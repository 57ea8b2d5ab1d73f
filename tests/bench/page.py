# SPDX-License-Identifier: BSD-3-Clause
"""A page with plots of results.json: page.py RESULTS.json > index.html

One plot for each metric and size, a group of bars for each placement, on a logarithmic axis: the
median of the rounds, and over it the spread from the smallest to the largest round.
"""

import html
import json
import math
import sys

MODES = {"pin": "a processor each", "free": "where the scheduler puts them", "same": "both on one"}
TITLES = {
    "rtt_p50_us": "Round trip, median, µs", "rtt_p99_us": "Round trip, 99th percentile, µs",
    "msgs_per_s": "One way, messages a second", "bytes_per_s": "One way, bytes a second",
    "first_byte_p50_us": "From dial to first byte, median, µs",
    "first_byte_last_100_p50_us": "From dial to first byte, last of 10,000 flows, µs",
    "sent_per_s_to_4": "Sent a second to 4 readers, none lost", "sent_per_s_to_8": "Sent a second to 8 readers, none lost",
    "delivered_per_s_4_to_4": "Delivered a second, 4 senders to 4 readers",
    "send_ns": "A send, ns, readers that do not look", "send_processor_ns": "Processor time of a send, ns",
    "latency_p99_us": "From sender to reader, 99th percentile, µs", "missed": "Missed by all readers",
    "processor_share": "Share of one processor, sender and readers",
    "daemon_processor_share": "Share of one processor, the daemon", "lost_uncounted": "Lost and not counted",
    "retransmissions": "TCP segments sent again, a second",
    "memory_bytes": "Memory of an idle flow, bytes", "wake_ups_per_s": "Wake-ups of an idle daemon a second",
}
MORE_IS_BETTER = ("msgs_per_s", "bytes_per_s", "sent_per_s_to_4", "sent_per_s_to_8", "delivered_per_s_4_to_4")
LABEL, PLOT, VALUE, BAR, GAP = 190, 560, 110, 16, 5  # pixels

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em;
       color: #1c2024; background: #fff }
h2 { margin: 2em 0 .3em } p { margin: .3em 0 }
svg { display: block; margin: .6em 0 } svg text { font: 12px system-ui, sans-serif; fill: #1c2024 }
table { border-collapse: collapse; font-size: 13px; margin-top: .6em } td, th { padding: .15em .7em;
       text-align: right; border-bottom: 1px solid #ddd } td:first-child, th:first-child { text-align: left }
.met { color: #0a7a35 } .missed { color: #b3261e; font-weight: 600 } .skipped { color: #777 }
"""


def short(value):
    """1234567 -> 1.23M; 0.4321 -> 0.432."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def figures(lines):
    """What each name measured: {name: (value, spread, whether it is ours)}, ours first."""
    found = {}
    for line in lines:
        if "skipped" not in line:
            found[line["name"]] = (line["value"], line["spread"], True)
    for line in lines:
        if "skipped" not in line and line["peer"] is not None:
            found.setdefault(line["peer"], (line["peer_value"], line["peer_spread"], False))
    return found


class Axis:
    """Whole powers of ten around all values, on PLOT pixels."""

    def __init__(self, values):
        positive = [value for value in values if value > 0] or [1]
        self.low = math.floor(math.log10(min(positive)) - 0.15)
        self.high = max(math.ceil(math.log10(max(positive))), self.low + 1)

    def at(self, value):
        if value <= 0:
            return 0
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return PLOT * min(max(part, 0), 1)

    def ticks(self):
        return [10.0 ** power for power in range(self.low, self.high + 1)]


def bars(found, axis, top):
    """A group of bars from `top` on: SVG, and where it ends."""
    drawn = []
    for name, (value, spread, ours) in found.items():
        middle = top + BAR / 2
        low, high = (axis.at(value * factor) for factor in (max(1 - spread / 2, 0.01), 1 + spread / 2))
        colour = "#2563c9" if ours else "#a9b4c2"
        drawn += [
            f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{LABEL}" y="{top}" width="{axis.at(value):.1f}" height="{BAR}" fill="{colour}"/>',
            f'<path d="M{LABEL + low:.1f} {middle}H{LABEL + high:.1f}" stroke="#1c2024"/>',
            f'<text x="{LABEL + max(axis.at(value), high) + 6:.1f}" y="{middle + 4}">{short(value)}</text>']
        top += BAR + GAP
    return drawn, top


def plot(groups):
    """An SVG of {mode: figures}, all on one axis."""
    axis = Axis([value for found in groups.values() for value, _, _ in found.values()])
    drawn, top = [], 22
    for mode, found in groups.items():
        drawn.append(f'<text x="{LABEL}" y="{top + 10}" font-weight="600">{mode}: {MODES[mode]}</text>')
        group, top = bars(found, axis, top + 16)
        drawn += group
        top += 8
    grid = []
    for tick in axis.ticks():
        x = LABEL + axis.at(tick)
        grid.append(f'<path d="M{x:.1f} 16V{top}" stroke="#e3e6ea"/>'
                    f'<text x="{x:.1f}" y="11" text-anchor="middle">{short(tick)}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + PLOT + VALUE}" height="{top}" '
            f'role="img">{"".join(grid)}{"".join(drawn)}</svg>')


def table(lines):
    """Every line that has a target, or could not be measured."""
    rows = []
    for line in lines:
        start = f'<td>{html.escape(line["name"])}</td><td>{line["mode"]}</td><td>{line["peer"] or ""}</td>'
        if "skipped" in line:
            rows.append(f'<tr class="skipped">{start}<td colspan="4">{html.escape(line["skipped"])}</td></tr>')
        elif line["target"] is not None:
            judged = line["value"] if line["ratio"] is None else line["ratio"]
            bound = "at least" if line["metric"] in MORE_IS_BETTER else "at most"
            verdict = "met" if line["met"] else "missed"
            rows.append(f'<tr>{start}<td>{judged:.4g}</td><td>{bound} {line["target"]:g}</td>'
                        f'<td class="{verdict}">{verdict}</td><td>{line["spread"]:.2f}</td></tr>')
    if not rows:
        return ""
    return ("<table><tr><th>ours</th><th>placed</th><th>beside</th><th>ratio</th><th>target</th><th></th>"
            "<th>spread</th></tr>" + "".join(rows) + "</table>")


def by_plot(results):
    """The lines of each plot: {(metric, bytes): lines}; all sizes in one where they are compared."""
    plots = {}
    for line in results:
        together = line["name"].startswith(("loaned_", "inline_"))
        plots.setdefault((line["metric"], "in place" if together else line["bytes"]), []).append(line)
    return plots


def render(results):
    parts = ["<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>flowfs: measurements</title>"
             f"<style>{STYLE}</style></head><body><h1>flowfs: measurements</h1>"
             "<p>Blue is flowfs, grey is what it was measured beside, in the same run. A bar is the median of the "
             "rounds, the line over it their spread. The axes are logarithmic. Compare bars of one plot only: "
             "figures of two runs, or of two machines, say nothing about each other.</p>"]
    for (metric, size), lines in by_plot(results).items():
        groups = {mode: figures([line for line in lines if line["mode"] == mode]) for mode in MODES}
        groups = {mode: found for mode, found in groups.items() if found}
        what = {"in place": ", in place, any size", 0: "", 1: ", 1 byte"}.get(size, f", {size} bytes")
        better = "more is better" if metric in MORE_IS_BETTER else "less is better"
        parts.append(f"<h2>{html.escape(TITLES.get(metric, metric))}{what}</h2><p>{better}</p>")
        parts.append((plot(groups) if groups else "") + table(lines))
    return "\n".join([*parts, "</body></html>\n"])


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(render(json.load(file)), end="")
