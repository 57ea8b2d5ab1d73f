# SPDX-License-Identifier: BSD-3-Clause
"""The page of plots: whole, and with everything in it that was measured or could not be."""

import re
import xml.etree.ElementTree as ElementTree

import page
import pytest
import results
import run


def line(name="ours", peer="theirs", mode="pin", value=2.0, peer_value=20.0, **others):
    ratio = None if peer is None else value / peer_value
    return {"name": name, "mode": mode, "bytes": 64, "metric": "rtt_p50_us", "value": value, "spread": 0.1,
            "peer": peer, "peer_value": None if peer is None else peer_value, "peer_spread": 0.5,
            "ratio": ratio, "target": None, "met": None, **others}


def skipped():
    return {**line(peer="absent"), "value": None, "spread": None, "peer_value": None, "peer_spread": None,
            "ratio": None, "skipped": "it was <not> there"}


def widths(shown):
    """The width of each bar, by its label."""
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", shown, re.DOTALL)[0])
    space = "{http://www.w3.org/2000/svg}"
    labels = [text.text for text in svg.iter(f"{space}text") if text.get("text-anchor") == "end"]
    bars = [float(rect.get("width")) for rect in svg.iter(f"{space}rect")]
    assert len(labels) == len(bars)
    return dict(zip(labels, bars))


def test_every_plot_is_well_formed():
    shown = page.render([line(), line(mode="free"), line(metric="msgs_per_s"), skipped(), line(peer=None)])
    plots = re.findall(r"<svg.*?</svg>", shown, re.DOTALL)
    assert len(plots) == 2
    for svg in plots:
        ElementTree.fromstring(svg)


def test_a_bar_is_as_long_as_the_logarithm_of_its_figure():
    bars = widths(page.render([line(value=1.0, peer="ten", peer_value=10.0),
                               line(value=1.0, peer="hundred", peer_value=100.0)]))
    assert set(bars) == {"ours", "ten", "hundred"}
    assert bars["hundred"] - bars["ten"] == pytest.approx(bars["ten"] - bars["ours"], abs=0.2)
    assert bars["ten"] > bars["ours"] > 0


def test_what_is_ours_is_so_even_where_it_is_a_peer_as_well():
    shown = page.render([line("small", "theirs"), line("large", "small", peer_value=2.0)])
    assert shown.count("#2563c9") == 2
    assert shown.count("#a9b4c2") == 1


def test_targets_are_shown_with_their_verdict():
    shown = page.render([line(target=0.2, met=True), line(mode="free", target=0.05, met=False)])
    assert '<td>at most 0.2</td><td class="met">met</td>' in shown
    assert '<td>at most 0.05</td><td class="missed">missed</td>' in shown
    rate = page.render([line(metric="msgs_per_s", target=2.0, met=False)])
    assert "at least 2" in rate


def test_a_target_without_a_peer_is_of_the_value():
    shown = page.render([line(peer=None, value=5.0, target=4.0, met=False)])
    assert "<td>5</td><td>at most 4</td>" in shown


def test_what_was_skipped_says_why():
    shown = page.render([line(), skipped()])
    assert "it was &lt;not&gt; there" in shown
    assert "skipped: ours beside absent, pin: it was <not> there" == run.row(skipped())


def test_nothing_to_draw_is_still_a_page():
    assert "<svg" not in page.render([skipped()])
    assert page.render([]).startswith("<!DOCTYPE html>")
    assert "<svg" in page.render([line(value=0.0, peer=None)])


def test_a_line_from_python_is_like_one_from_cpp():
    what = {"metric": "rtt_p50_us", "size": 64}
    made = results.compared("ours", [1.0, 2.0, 4.0], "theirs", [20.0], target=0.2, **what)
    assert made == {**line(mode="free", peer_spread=0), "spread": 1.5, "target": 0.2, "met": True}
    assert list(made) == list(line())
    assert results.skipped("ours", "absent", "it was <not> there", **what) == {**skipped(), "mode": "free",
                                                                             "ratio": None, "met": None}
    assert not results.compared("ours", [1], "theirs", [1], target=3, at_most=False, **what)["met"]


def test_some_programs_alone():
    assert run.parse(["folder", "5", "--only", "bus_mapped", "50"]).numbers == ["5", "50"]
    assert run.parse(["folder", "--only", "pool_alloc", "--only", "file_mode"]).only == ["pool_alloc", "file_mode"]
    with pytest.raises(SystemExit):
        run.parse(["folder", "--only", "no_such_program"])


@pytest.mark.parametrize("value, text", [
    (0.4321, "0.432"), (2, "2"), (999, "999"), (1234, "1.23k"), (5_600_000, "5.6M"), (7.1e9, "7.1G")])
def test_numbers_are_short(value, text):
    assert page.short(value) == text
