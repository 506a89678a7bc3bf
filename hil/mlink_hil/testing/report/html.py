"""The HTML report: one file without scripts or references, but for links to recordings."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from mlink_hil.testing.report.timeline_svg import HATCH, timeline_svg

_SHORT_CODE = 60
"""Lines of a traceback that is shown at once."""
_STYLE = """
:root{color-scheme:light dark;--back:#fbfbfa;--ink:#1d2126;--dim:#5a626d;--line:#d5d9de;
--pass:#00734f;--fail:#b3261e;--open:#a85a00;--blue:#0067a5;
--s0:#0072b2;--s1:#c44e00;--s2:#00805a;--s3:#a04586}
@media(prefers-color-scheme:dark){:root{--back:#14171a;--ink:#e9ecef;--dim:#a3abb5;--line:#363c43;
--pass:#5cc9a0;--fail:#ff8a80;--open:#f0ac4e;--blue:#6cb8ea;
--s0:#56b4e9;--s1:#e69f00;--s2:#2fc796;--s3:#d891bd}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;
background:var(--back);color:var(--ink)}
a{color:var(--blue)}h1{font-size:1.4rem}code{font-size:13px;overflow-wrap:anywhere}
.wide{overflow-x:auto}.about td,.about th{border:0;font-weight:400}
.about th{color:var(--dim);white-space:nowrap}
details{border:1px solid var(--line);border-radius:6px;margin:.6rem 0}
summary{padding:.5rem .8rem;cursor:pointer;overflow-wrap:anywhere}
section{padding:0 .8rem .8rem;overflow-x:auto}
b.passed,td.pass{color:var(--pass)}b.failed,b.error,td.fail{color:var(--fail)}
b.inconclusive,td.inconclusive,b.skipped{color:var(--open)}
table{border-collapse:collapse;margin:.5rem 0}
td,th{border-bottom:1px solid var(--line);padding:.2rem .7rem .2rem 0;text-align:left;
vertical-align:top;overflow-wrap:anywhere}
.tests b,.tests th{white-space:nowrap}.tests a{display:inline-block;min-width:8.5rem}
.tests td:last-child{min-width:11rem}
td.number{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:normal}
pre{background:#8881;padding:.6rem;overflow-x:auto;font-size:12px;line-height:1.3}
svg{width:100%;font:11px system-ui,sans-serif}svg text{fill:currentColor}
svg.defs{position:absolute;width:0;height:0}
.name{text-anchor:end}.axis{text-anchor:middle}svg .axis{fill:var(--dim)}
.grid{stroke:var(--line);fill:none}.fault{fill:var(--open);opacity:.7}
.c0{color:var(--s0)}.c1{color:var(--s1)}.c2{color:var(--s2)}.c3{color:var(--s3)}
.wave,.tick{fill:none;stroke:currentColor;stroke-width:1.4}.tick{opacity:.8}
.area{fill:currentColor;opacity:.14}.unsure{fill:currentColor;opacity:.3}
.hatch{stroke:var(--dim);stroke-width:1.5}
.stimulus{stroke:var(--blue);stroke-width:1.5;fill:none}
.deadline{stroke:var(--fail);stroke-dasharray:3 3;fill:none}
.key{margin:.2rem 0 .6rem;font-size:13px;color:var(--dim)}
.key svg{width:1.1rem;height:.8rem;margin:0 .3rem 0 1rem}
figure{display:inline-block;margin:.4rem .8rem .4rem 0;max-width:19rem}img{max-width:100%}
figcaption{font-size:13px;color:var(--dim)}
.why{font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0}
details details{border:0;margin:0}details details>summary{padding:.2rem 0;color:var(--dim)}
@media(max-width:34rem){body{margin:1rem auto;padding:0 .6rem}section>svg{min-width:34rem}}
"""


def write_report(path: Path, tests: list[dict[str, Any]]) -> None:
    """Write the report of a session's tests.

    Args:
        path: The file; its folder is made.
        tests: What `evidence.gather` returned for each test, with "nodeid", "outcome", "duration"
            (in s), "began" (s since 1970), "text" (the traceback) and "why" (the failure's
            message).
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
    first: dict[tuple[str, str], int] = {}
    shown_at = [first.setdefault(_failure(test), n) if test["text"] else n
                for n, test in enumerate(tests, 1)]  # fmt: skip
    body = "".join(
        _test(test, number, at)
        for number, (test, at) in enumerate(zip(tests, shown_at, strict=True), 1)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>mlink: {escape(summary)}</title><style>{_STYLE}</style>"
        f'<svg class="defs" aria-hidden="true"><defs>{HATCH}</defs></svg>'
        f"<h1>Bench tests: {escape(summary)}</h1>{_about(tests)}{_overview(tests, shown_at)}"
        f"{body}</html>\n"
    )


def _failure(test: dict[str, Any]) -> tuple[str, str]:
    """Return what is the same for tests that fail of one cause, as a run that did not start."""
    return str(test.get("why", "")), str(test["text"])


def _about(tests: list[dict[str, Any]]) -> str:
    """Return with what the tests ran: each fact once."""
    found: dict[str, list[str]] = {}
    for test in tests:
        if about := test.get("about"):
            facts = {
                "bench": f"{test['bench']} ({about['path']}), {test['time']}",
                "devices": _listed(about["devices"], " = ") or "none",
                "host": f"{about['host']}: {about['system']}",
                "versions": _listed(about["versions"], " "),
            }
            for title, text in facts.items():
                texts = found.setdefault(title, [])
                texts += [text] if text not in texts else []
    begun = [test["began"] for test in tests if test.get("began")]
    dates = [time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(each)) for each in sorted(begun)]
    found["begun"] = [" to ".join(dict.fromkeys((*dates[:1], *dates[-1:]))) or "unknown"]
    total_s = sum(test["duration"] for test in tests)
    found["total"] = [f"{len(tests)} test{'s' * (len(tests) != 1)}, {total_s:.2f} s in them"]
    rows = "".join(
        f"<tr><th>{title}<td>{'<br>'.join(map(escape, texts))}" for title, texts in found.items()
    )
    return f'<table class="about">{rows}</table>'


def _listed(facts: dict[str, str], between: str) -> str:
    return ", ".join(f"{name}{between}{text}" for name, text in facts.items())


def _overview(tests: list[dict[str, Any]], shown_at: list[int]) -> str:
    """Return a table with a row for each test, which leads to it."""
    rows = []
    for number, (test, at) in enumerate(zip(tests, shown_at, strict=True), 1):
        outcome = escape(str(test["outcome"]))
        why = test.get("why", "").strip().partition("\n")[0] if test["text"] else ""
        rows.append(
            f'<tr><td class="number">{number}<td><b class="{outcome}">{outcome}</b>'
            f'<td><a href="#t{number}">{escape(test["nodeid"])}</a>'
            f'<td class="number">{test["duration"]:.2f}'
            f"<td>{escape(why) if at == number else _as(at)}"
        )
    head = "<tr><th><th>outcome<th>test<th>s<th>why"
    return f'<div class="wide"><table class="tests">{head}{"".join(rows)}</table></div>'


def _as(number: int) -> str:
    return f'as <a href="#t{number}">test {number}</a>'


def _test(test: dict[str, Any], number: int, shown_at: int) -> str:
    """Return a test's part; its failure is shown at the first test that has it."""
    outcome, fails_here = str(test["outcome"]), bool(test["text"]) and shown_at == number
    why = str(test.get("why", ""))
    parts = [
        f'<details id="t{number}"{"" if outcome == "passed" else " open"}><summary>'
        f'<b class="{escape(outcome)}">{escape(outcome)}</b> {number}. {escape(test["nodeid"])} '
        f"({test['duration']:.2f} s{_time(test)})</summary><section>",
        _why(why, is_drawn="began_usec" in test) if fails_here else "",
        f"<p>{_as(shown_at)}</p>" if shown_at != number else "",
        _measurements(test["measurements"]),
        drawing := timeline_svg(test),
        _key(test, drawing) if drawing else "",
    ]
    parts += [
        f'<figure><img alt="" src="data:image/jpeg;base64,{picture["jpeg"]}">'
        f"<figcaption>{escape(picture['label'])}</figcaption></figure>"
        for picture in test.get("pictures", ())
    ]
    if fails_here:
        code = _code(test["text"], why)
        is_open = " open" if code.count("\n") < _SHORT_CODE else ""
        parts.append(
            f"<details{is_open}><summary>code</summary><pre>{escape(code)}</pre></details>"
        )
    if links := _links(test):
        parts.append(f"<p>{links}</p>")
    return "".join(parts) + "</section></details>"


def _time(test: dict[str, Any]) -> str:
    """Return the kind of time of a test's run; "" for a test that has not run."""
    return f", {escape(test['time'])}" if "time" in test else ""


def _why(text: str, *, is_drawn: bool) -> str:
    """Return a failure's message: its first lines, and the timeline that follows them."""
    head, _, rest = text.strip("\n").partition("\n\n")
    shown = f'<p class="why">{escape(head)}</p>' if head else ""
    if not rest:
        return shown
    timeline = f"<pre>{escape(rest)}</pre>"  # the drawing has it, too, but for the list of times
    if is_drawn:
        timeline = f"<details><summary>times</summary>{timeline}</details>"
    return shown + timeline


def _code(text: str, why: str) -> str:
    """Return a traceback without the failure's message, which is above it."""
    lines = text.splitlines()
    if why.strip():
        lines = [line for line in lines if not line.startswith("E  ")]
    return "\n".join(lines).strip("\n")


def _key(test: dict[str, Any], drawing: str) -> str:
    """Return a legend of the marks that are in the timeline."""
    kinds = [("stimulus", "stimulus"), ("deadline", "deadline")]
    marks = [
        f'<svg viewBox="0 0 18 12"><path class="{kind}" d="M9 0V12"/></svg>{text}'
        for kind, text in kinds
        if test["deadlines" if kind == "deadline" else "stimuli"]
    ]
    if 'class="unknown"' in drawing:
        box = '<rect y="1" width="18" height="10" fill="url(#unknown)"/>'
        marks.append(f'<svg viewBox="0 0 18 12">{box}</svg>unknown')
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
        past = [at for at, _ in test["deadlines"] if at <= test["end_usec"]]
        place = shlex.quote(f"{recording}#t={max(past, default=test['end_usec'])}")
        links.append(f"this moment of it: <code>mlink view {escape(place)}</code>")
    return " · ".join(links)
