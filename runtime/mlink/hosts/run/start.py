"""Runs a bench over its hosts: splits it, leads them, puts results and recordings together."""

from __future__ import annotations

import getpass
import logging
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import msgspec

from mlink.bench import Bench
from mlink.bench.module import CONTROLLER
from mlink.engine.options import RunOptions
from mlink.engine.remote import RunControl
from mlink.engine.status import Failure, RunObserver, RunResult
from mlink.errors import BenchError, HostError, MlinkError
from mlink.hosts.link.calls import Calls
from mlink.hosts.link.controller import Controller
from mlink.hosts.link.keyring import hosts_folder
from mlink.hosts.link.lease import Lease, ReleaseHost, TakeHost, hold_lease
from mlink.hosts.run import gather, messages
from mlink.hosts.run.bridge import Bridge, Link
from mlink.hosts.run.lead import Lead
from mlink.hosts.run.merge import disagreements, hosts_attribute, merge
from mlink.hosts.run.split import Part, here, split
from mlink.storage.account import HOSTS
from mlink.storage.failures import storage_errors
from mlink.storage.manifest import ATTRIBUTES, read_toml, write_toml
from mlink.storage.uuid7 import uuid7

Gather = Literal["now", "later", "never"]
RunHere = Callable[[Bench, RunOptions], RunResult]
"""Runs the controller's part."""
_CHECK_S = 20.0
_THERE_S = 10.0

log = logging.getLogger("mlink.hosts")


def controller_of(bench: Bench, *, plain: bool = False) -> Controller:
    """Open this machine's session to the hosts of a bench, and wait until they are there.

    Args:
        bench: The bench.
        plain: Whether they are reached without keys.

    Raises:
        HostError: One is not there, or this machine may not lead.
    """
    used = {module.host for module in bench.modules.values() if module.host}
    addresses = {host: bench.hosts[host].address for host in sorted(used)}
    addresses = {host: each if "/" in each else "" for host, each in addresses.items()}
    session = Controller(addresses, hosts_folder(), plain=plain)
    try:
        session.await_hosts(_THERE_S)
    except BaseException:
        session.close()
        raise
    return session


def scripts_of(bench: Bench) -> dict[str, dict[str, bytes]]:
    """Return the scripts that other hosts run: host → module → text.

    Raises:
        BenchError: One cannot be read, or is too large.
    """
    found: dict[str, dict[str, bytes]] = {}
    for name, module in bench.modules.items():
        if not module.host:
            continue
        scripts = found.setdefault(module.host, {})
        for key in ("script", "main"):
            value = getattr(module.settings, key, None)
            if isinstance(value, str) and value:
                path = bench.dir / value
                with storage_errors(path, "read"):
                    text = path.read_bytes()
                if len(text) > messages.MOST_SCRIPT_BYTES:
                    raise BenchError(
                        f"the script of '{name}' has {len(text):,} bytes; at most "
                        f"{messages.MOST_SCRIPT_BYTES:,} can be sent to another host"
                    )
                scripts[name] = text
    return found


def check_hosts(bench: Bench, calls: Calls) -> list[str]:
    """Ask the hosts of a bench whether they could run their parts; return what is missing there.

    Raises:
        HostError: A host is not there, or refuses its part.
    """
    missing = []
    scripts = scripts_of(bench)
    for host, part in split(bench).items():
        if host == CONTROLLER:
            continue
        request = messages.Check(part, scripts.get(host, {}))
        found = calls.ask(host, request, messages.Checked, _CHECK_S)
        missing += [f"{host}: device {device}" for device in found.devices]
        if found.free_bytes < 1 << 30:
            missing.append(f"{host}: its disk has {found.free_bytes / 1e6:.0f} MB free")
    return missing


def run_on_hosts(
    bench: Bench,
    options: RunOptions,
    observer: RunObserver,
    run_here: RunHere,
    *,
    plain: bool = False,
    collect: Gather = "now",
    progress: gather.Progress = lambda *_: None,
) -> RunResult:
    """Run a bench whose modules are on several hosts.

    Args:
        bench: The checked bench.
        options: Options of the run.
        observer: Receives what hosts log and print; `run_here` has its own.
        run_here: Runs the controller's part, whose options have a `RunControl`.
        plain: Whether hosts are reached without keys.
        collect: Whether recordings are gathered at the end.
        progress: Receives how far gathering is.

    Returns:
        The result of all hosts.

    Raises:
        HostError: The link cannot be opened.
        BenchError: A part of the bench cannot be set up.
    """
    run_uuid = options.run_uuid or uuid7().bytes
    run = run_uuid.hex()
    parts = split(bench)
    away = {host: part for host, part in parts.items() if host != CONTROLLER}
    scripts = scripts_of(bench)
    owner = f"{getpass.getuser()} at {platform.node()}, {bench.name}"[:200]
    with ExitStack() as stack:
        session = stack.enter_context(controller_of(bench, plain=plain))
        addresses = session.addresses
        for host in away:
            _address(host, addresses[host])
        for give_back in _take(session, away, bench, run, owner):
            stack.callback(give_back)
        calls = Calls(session)
        lead = stack.enter_context(
            Lead(
                calls,
                {host: _strict(part, options) for host, part in away.items()},
                {host: _options(bench, options, host) for host in away},
                {host: scripts.get(host, {}) for host in away},
                owner=owner,
                observer=observer,
                add_clock=_clocks(stack, addresses),
            )
        )
        link = Link(session.local_endpoint, run, wait_s=options.prepare_timeout_s * 0.9)
        own = here(bench, parts[CONTROLLER], link)
        control: RunControl = lead
        result = run_here(own, replace(options, run_uuid=run_uuid, control=control))
        lead.finish(abort=any("aborted" in each.message for each in result.failures))
        merge(result, lead.peers, bench)
        _compare(result, parts, options, bench)
        _record(result, lead, addresses, run)
        _gather(result, calls, list(away), collect, progress)
    return result


def _take(
    session: Controller, hosts: Iterable[str], bench: Bench, run: str, owner: str
) -> Iterator[Callable[[], object]]:
    """Take the leases of hosts; yield what gives each of them back.

    Raises:
        HostError: One is taken by another controller.
    """
    calls = Calls(session)
    yield hold_lease(session, run).undeclare
    for host in hosts:
        keep_s = bench.hosts[host].island_s + _CHECK_S
        calls.ask(host, TakeHost(run, owner, min(keep_s, 86_400)), Lease, _CHECK_S)
        yield partial(_give_back, calls, host, run)


def _give_back(calls: Calls, host: str, run: str) -> None:
    with suppress(HostError):  # its agent ends it when the controller has gone
        calls.ask(host, ReleaseHost(run), Lease, 2.0)


def _strict(part: Part, options: RunOptions) -> Part:
    return msgspec.structs.replace(part, strict=part.strict or options.strict)


def _options(bench: Bench, options: RunOptions, host: str) -> messages.HostOptions:
    subject = bench.subject_of(options.subject)
    return messages.HostOptions(
        name=options.name or bench.name,
        record=options.record,
        subject=subject.id,
        subject_group=subject.group,
        experimenter=options.experimenter,
        comment=options.comment,
        on_loss=bench.hosts[host].on_loss,
        island_s=bench.hosts[host].island_s,
        load_timeout_s=options.load_timeout_s,
        prepare_timeout_s=options.prepare_timeout_s,
        start_timeout_s=options.start_timeout_s,
        stop_grace_s=options.stop_grace_s,
        debug=options.debug,
    )


def _clocks(stack: ExitStack, addresses: Mapping[str, str]) -> Callable[[str, int, bytes], None]:
    from mlink.hosts.clocks.server import ClockServer

    server = stack.enter_context(ClockServer())

    def add(host: str, port: int, key: bytes) -> None:
        if port:
            server.add(host, _address(host, addresses[host]), port, key)

    return add


def _address(host: str, endpoint: str) -> str:
    """Return the address in an endpoint: "10.0.0.7" of "tls/10.0.0.7:7447".

    Raises:
        HostError: There is none, as the host was found by discovery, which does not say where.
    """
    where = endpoint.partition("/")[2].partition("?")[0].partition("#")[0]
    address = where.rpartition(":")[0].strip("[]")
    if not address:
        raise HostError(
            f"the address of host {host} is not known, so its clock cannot be compared",
            host=host,
            remedy=f'Write {host} = "tls/ADDRESS:7447" into [hosts] of the bench or of hosts.toml.',
        )
    return address


def _compare(
    result: RunResult, parts: Mapping[str, Part], options: RunOptions, bench: Bench
) -> None:
    """Compare the counts at both ends of streams; a difference is a failure of a strict run."""
    bridges: dict[str, Bridge] = {
        each.in_name: each for part in parts.values() for each in part.bridges
    }
    for text in disagreements(result, bridges.values()):
        result.hints.append(text)
        if options.strict or bench.strict:
            result.failures.append(Failure("", "stop", text, "Look at the link between them."))
            result.success = False


def _record(result: RunResult, lead: Lead, addresses: Mapping[str, str], run: str) -> None:
    """Write what the hosts did into the recording."""
    if result.recording_dir is None:
        return
    path = result.recording_dir / ATTRIBUTES
    try:
        account = [
            msgspec.to_builtins(stream) | {"name": stream.name}
            for peer in lead.peers.values()
            for stream in (peer.result.streams if peer.result is not None else ())
        ]
        gather.add_account(result.recording_dir, [_listed(each) for each in account])
        attributes = read_toml(path)
        attributes[HOSTS] = hosts_attribute(lead.peers, addresses, run, lead.t0_ns / 1e9)
        attributes["success"] = result.success
        attributes["hints"] = result.hints
        if result.failures:
            attributes["failure_reason"] = "; ".join(map(str, result.failures))
        write_toml(path, attributes)
    except MlinkError as error:
        result.failures.append(Failure("", "close", error.message, error.remedy))
        result.success = False


def _listed(stream: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "data_type", "sent", "lost_at_source", "rate_hz")
    counts = ("module", "port", "received", "lost", "refused", "not_taken")
    return {key: stream[key] for key in kept} | {
        "subscriptions": [{key: each[key] for key in counts} for each in stream["subscriptions"]]
    }


def _gather(
    result: RunResult, calls: Calls, hosts: list[str], collect: Gather, progress: gather.Progress
) -> None:
    folder = result.recording_dir
    if folder is None:
        return
    if collect != "now":
        text = f"not gathered (--gather {collect}): mlink gather {folder}"
        for host in hosts:
            gather.note_gathered(folder, host, why_not=f"--gather {collect}")
        result.hints.append(f"{', '.join(hosts)}: {text}")
        return
    for host, error in gather.gather_left(calls, folder, progress).items():
        what = f"{error.message}; its part of the recording stays there: mlink gather {folder}"
        result.failures.append(Failure("", "gather", f"{host}: {what}", error.remedy))
        result.success = False
