"""The HTML report: one file without scripts or references, but for links to recordings."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from mlink_hil.testing.report.timeline_svg import timeline_svg

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--pass:#2a7d3f;--fail:#c0392b;--open:#b7791f}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}
h1{font-size:1.4rem}details{border:1px solid var(--line);border-radius:6px;margin:.6rem 0}
summary{padding:.5rem .8rem;cursor:pointer;overflow-wrap:anywhere}
section{padding:0 .8rem .8rem;overflow-x:auto}
b.passed,td.pass{color:var(--pass)}b.failed,b.error,td.fail{color:var(--fail)}
b.inconclusive,td.inconclusive,b.skipped{color:var(--open)}
table{border-collapse:collapse;margin:.5rem 0}
td,th{border-bottom:1px solid var(--line);padding:.2rem .7rem;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}
pre{background:#8881;padding:.6rem;overflow-x:auto;font-size:12px;line-height:1.3}
svg{width:100%;font:11px system-ui,sans-serif}svg text{fill:currentColor}
.name{text-anchor:end}.axis{text-anchor:middle;opacity:.75}
.grid{stroke:var(--line);fill:none}.fault{fill:var(--open);opacity:.7}.wave,.tick{fill:none;stroke:currentColor;stroke-width:1.2}
.tick{opacity:.6}.stimulus{stroke:#2a6fb0;stroke-width:1.5;fill:none}
.deadline{stroke:var(--fail);stroke-dasharray:3 3;fill:none}
.key{margin:.2rem 0 .6rem;font-size:13px;opacity:.8}
.key svg{width:1.1rem;height:.8rem;margin:0 .3rem 0 1rem}
figure{display:inline-block;margin:.4rem .8rem .4rem 0;max-width:19rem}img{max-width:100%}
figcaption{font-size:13px;opacity:.8}
.why{font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0}
details details{border:0;margin:0}details details>summary{padding:.2rem 0;opacity:.8}
"""


def write_report(path: Path, tests: list[dict[str, Any]]) -> None:
    """Write the report of a session's tests.

    Args:
        path: The file; its folder is made.
        tests: What `evidence.gather` returned for each test, with "nodeid", "outcome", "duration"
            (in s), "text" (the traceback) and "why" (the failure's message).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report_html(tests), encoding="utf-8")


def report_html(tests: list[dict[str, Any]]) -> str:
    """Return the report as HTML; all tests but passed ones are expanded.

    Args:
        tests: As for `write_report`.
    """
    counts = Counter(test["outcome"] for test in tests)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    body = "".join(_test(test) for test in tests)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>mlink: {escape(summary)}</title><style>{_STYLE}</style>"
        f"<h1>Bench tests: {escape(summary)}</h1>{body}</html>\n"
    )


def _test(test: dict[str, Any]) -> str:
    outcome = str(test["outcome"])
    parts = [
        f"<details{'' if outcome == 'passed' else ' open'}><summary>"
        f'<b class="{escape(outcome)}">{escape(outcome)}</b> {escape(test["nodeid"])} '
        f"({test['duration']:.2f} s{_time(test)})</summary><section>",
        _why(test.get("why", "") if test["text"] else ""),
        _measurements(test["measurements"]),
        drawing := timeline_svg(test),
        _key(test) if drawing else "",
    ]
    parts += [
        f'<figure><img alt="" src="data:image/jpeg;base64,{picture["jpeg"]}">'
        f"<figcaption>{escape(picture['label'])}</figcaption></figure>"
        for picture in test.get("pictures", ())
    ]
    if test["text"]:
        trace = f"<pre>{escape(test['text'])}</pre>"
        parts.append(f"<details><summary>traceback</summary>{trace}</details>")
    if links := _links(test):
        parts.append(f"<p>{links}</p>")
    return "".join(parts) + "</section></details>"


def _time(test: dict[str, Any]) -> str:
    """Return the kind of time of a test's run; "" for a test that has not run."""
    return f", {escape(test['time'])}" if "time" in test else ""


def _why(text: str) -> str:
    """Return a failure's message: its first lines, and the timeline that follows them."""
    head, _, rest = text.strip("\n").partition("\n\n")
    shown = f'<p class="why">{escape(head)}</p>' if head else ""
    return f"{shown}<pre>{escape(rest)}</pre>" if rest else shown


def _key(test: dict[str, Any]) -> str:
    """Return a legend of the marks that are in the timeline."""
    kinds = [("stimulus", "stimulus"), ("deadline", "deadline")]
    marks = [
        f'<svg viewBox="0 0 18 12"><path class="{kind}" d="M9 0V12"/></svg>{text}'
        for kind, text in kinds
        if test["deadlines" if kind == "deadline" else "stimuli"]
    ]
    return f'<p class="key">times are since the start of the run{"".join(marks)}</p>'


def _measurements(measured: list[dict[str, Any]]) -> str:
    if not measured:
        return ""
    rows = "".join(
        f'<tr><td>{escape(_name(each))}</td><td class="number">{_number(each["value"])}</td>'
        f"<td>{escape(each['unit'])}</td><td>{_range(each['lowest'], each['highest'])}</td>"
        f"<td>{_limits(each)}</td>"
        f'<td class="{each["outcome"]}">{each["outcome"]}</td></tr>'
        for each in measured
    )
    head = "<tr><th>measurement<th>value<th>unit<th>bounds<th>limits<th>outcome</tr>"
    return f"<table>{head}{rows}</table>"


def _name(measured: dict[str, Any]) -> str:
    """Return a measurement's name; one of virtual time is marked."""
    return f"{measured['name']} (virtual time)" if measured.get("virtual") else measured["name"]


def _range(lowest: float, highest: float) -> str:
    return "" if lowest == highest else f"{_number(lowest)} to {_number(highest)}"


def _number(value: float) -> str:
    """Return a number as text; large ones without an exponent."""
    return f"{value:.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:g}"


def _limits(measured: dict[str, Any]) -> str:
    limits = (("≥", measured["at_least"]), ("≤", measured["at_most"]))
    return " and ".join(f"{sign} {_number(limit)}" for sign, limit in limits if limit is not None)


def _links(test: dict[str, Any]) -> str:
    links = []
    if vcd := test.get("vcd"):
        links.append(f'<a href="{escape(vcd)}">waveforms (VCD)</a>')
    if recording := test.get("recording"):
        # "" where the recording of a passed test has been removed
        links.append(f'recording: <a href="file://{escape(recording)}">{escape(recording)}</a>')
    return " · ".join(links)
