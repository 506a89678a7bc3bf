"""One result of all hosts of a run, and the account of what crossed, compared at both ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlink.bench import Bench
from mlink.bench.record_all import unrecorded
from mlink.engine.status import Failure, RunResult
from mlink.hosts.run.bridge import Bridge
from mlink.hosts.run.lead import failure_on, on_host
from mlink.hosts.run.peer import Peer


def merge(result: RunResult, peers: Mapping[str, Peer], bench: Bench) -> None:
    """Add what the hosts have reported to the controller's result.

    Args:
        result: Of the controller's part; it is changed.
        peers: The hosts.
        bench: The whole bench.
    """
    known = set(map(str, result.failures))
    for host, peer in sorted(peers.items()):
        found = peer.result
        failures = [failure_on(each, host) for each in found.failures] if found else []
        if peer.error is not None:
            failures.append(Failure("", "run", peer.error.message, peer.error.remedy))
        result.failures += [each for each in failures if str(each) not in known]
        known |= set(map(str, failures))
        result.hints += _about(peer)
        if found is None:
            continue
        result.streams += found.streams
        result.reports |= {on_host(name, host) or host: each
                           for name, each in found.reports.items()}  # fmt: skip
        result.sentences += [_placed(each, host) for each in found.sentences]
        result.hints += [_placed(each, host) for each in found.hints]
        result.error_messages += [_placed(each, host) for each in found.error_messages]
    result.success = result.success and not result.failures
    if result.recording_dir is not None:
        sent = {stream.name for stream in result.streams if stream.sent}
        names = (f"{module}.{port.id}" for module, port in unrecorded(bench.modules))
        result.unrecorded = [name for name in names if name in sent]


def _placed(text: str, host: str) -> str:
    """Return "module: what" with the module's host."""
    module, colon, what = text.partition(": ")
    return f"{on_host(module, host)}{colon}{what}" if colon else f"{host}: {text}"


def _about(peer: Peer) -> list[str]:
    found = [
        f"{peer.host}: it could not be reached for {gap.until_s - gap.from_s:.1f} s"
        if gap.until_s
        else f"{peer.host}: it could not be reached at the end"
        for gap in peer.gaps
    ]
    if peer.left_out:
        found.append(f"{peer.host}: {peer.left_out} lines of its log were not sent")
    return found


def disagreements(result: RunResult, bridges: Iterable[Bridge]) -> list[str]:
    """Return where the counts at both ends of a stream between hosts are not the same.

    Args:
        result: Of all hosts.
        bridges: The streams that crossed.
    """
    streams = {stream.name: stream for stream in result.streams}
    found = []
    for bridge in bridges:
        source = streams.get(bridge.stream)
        arrived = streams.get(f"{bridge.in_name}.stream")
        if source is None or arrived is None:
            missing = bridge.source if source is None else bridge.target
            found.append(f"{bridge.stream}: what {missing} counted is not known")
        elif source.sent != arrived.sent:
            found.append(
                f"{bridge.stream}: {source.sent} items were sent on {bridge.source}, and "
                f"{bridge.target} has the account of {arrived.sent}: the rest may be lost"
            )
    return found


def hosts_attribute(peers: Mapping[str, Peer], addresses: Mapping[str, str], run: str,
                    t0_s: float) -> dict[str, Any]:  # fmt: skip
    """Return what the recording says about its hosts.

    Args:
        peers: The hosts.
        addresses: Host → its address.
        run: The run's id, hexadecimal.
        t0_s: time.monotonic at master time 0; 0 if it was not reached.
    """
    found: dict[str, Any] = {}
    for host, peer in peers.items():
        about: dict[str, Any] = {"address": addresses[host], "run": run, "gathered": False}
        if peer.result is not None:
            about["success"] = peer.result.success
        if peer.error is not None:
            about["error"] = peer.error.message
        if peer.gaps:
            about["gaps"] = [
                {"from_sec": round(gap.from_s - t0_s, 3)}
                | ({"until_sec": round(gap.until_s - t0_s, 3)} if gap.until_s else {})
                for gap in peer.gaps
            ]
        if peer.clock:
            about["clock"] = dict(peer.clock)
        found[host] = about
    return found
