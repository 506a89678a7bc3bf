"""`mlink agent`: let controllers of a lab use this computer; its keys, and who may join."""

from __future__ import annotations

import enum
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlink.ctrl_c import raise_on_signals

if TYPE_CHECKING:
    from rich.console import Console

    from mlink.hosts.link.certificates import Role
    from mlink.hosts.link.keyring import Keyring

_TEMPLATE = Path(__file__).parent.parent / "templates" / "agent.service.txt"


class Action(enum.StrEnum):
    """What `mlink agent` does."""

    SERVE = "serve"
    INIT = "init"
    INVITE = "invite"
    JOIN = "join"
    INSTALL = "install"


def agent(
    action: Annotated[
        Action,
        typer.Argument(
            help="serve: let controllers use this host. init: make a lab's keys here. invite: let "
            "another host join. join ADDRESS SECRET: join, by the line of an invitation. install: "
            "write a unit of systemd that serves."
        ),
    ] = Action.SERVE,
    line: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS SECRET]", help="With join.")
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ENDPOINT", help="Where to listen, in place of agent.toml."),
    ] = None,
    name: Annotated[
        str, typer.Option(help="With init and join: name of this host.", show_default="hostname")
    ] = "",
    lab: Annotated[
        str, typer.Option(help="With init: name of the lab.", show_default="this host's")
    ] = "",
    at: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS[:PORT]",
            help="With init and invite: where this host lets others join.",
            show_default="its address, port 7448",
        ),
    ] = "",
    controller: Annotated[
        bool,
        typer.Option("--controller", help="With invite: the host may start runs on others."),
    ] = False,
    no_invite: Annotated[
        bool, typer.Option("--no-invite", help="With init: let nobody join yet.")
    ] = False,
    plain: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Without keys: everybody who reaches this host controls it. For a network that "
            "nobody else uses.",
        ),
    ] = False,
) -> None:
    """Let controllers of a lab run parts of their benches on this computer."""
    from mlink.cli.terminal.output import safe_console
    from mlink.hosts.link.keyring import hosts_folder, make_lab
    from mlink.hosts.link.settings import PORT, own_name, write_agent_settings

    raise_on_signals()
    console, folder = safe_console(), hosts_folder()
    given = tuple(line or ())
    if (action is Action.JOIN) != (len(given) == 2) or (given and action is not Action.JOIN):
        raise typer.BadParameter("join has an ADDRESS and a SECRET, others have neither")
    anywhere = tuple(listen or (f"tls/0.0.0.0:{PORT}",))
    match action:
        case Action.SERVE:
            _serve(console, folder, tuple(listen or ()), plain=plain)
        case Action.INSTALL:
            _install(console, folder)
        case Action.INIT:
            keys = make_lab(folder, lab or name or own_name(), name or own_name())
            write_agent_settings(folder, anywhere)
            console.print(f"keys of the lab {keys.lab}: {folder}; this host is {keys.host}")
            if not no_invite:
                _invite(console, folder, at, controller=controller)
        case Action.INVITE:
            _invite(console, folder, at, controller=controller)
        case Action.JOIN:
            keys = _join(folder, given, name or own_name(), anywhere)
            write_agent_settings(folder, anywhere)
            console.print(f"{keys.host} is {_a(keys)} of the lab {keys.lab}; now: mlink agent")


def _a(keys: Keyring) -> str:
    return "a controller" if keys.role == "controller" else "an agent"


def _serve(console: Console, folder: Path, listen: tuple[str, ...], *, plain: bool) -> None:
    import msgspec

    from mlink.hosts.link.agent import Agent, open_agent_session
    from mlink.hosts.link.settings import read_agent_settings
    from mlink.hosts.run.agent import make_runs

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = read_agent_settings(folder)
    if listen:
        settings = msgspec.structs.replace(settings, listen=listen)
    host, session = open_agent_session(folder, settings, plain=plain)
    with session, Agent(host, settings, session, make_runs) as agent:
        if plain:
            console.print(
                "warning: without keys (--open), everybody who reaches this host controls it",
                style="yellow",
            )
        where = [f"listens at {', '.join(settings.listen)}"] if settings.listen else []
        where += [f"connects to {', '.join(settings.connect)}"] if settings.connect else []
        console.print(f"{host} {' and '.join(where)}; Ctrl-C ends it")
        console.file.flush()  # also into a pipe
        agent.serve()


def _invite(console: Console, folder: Path, at: str, *, controller: bool) -> None:
    from mlink.errors import HostError
    from mlink.hosts.link.joining import JOIN_PORT, JOIN_S, Invitation
    from mlink.hosts.link.settings import remember_host

    address, _, port = at.rpartition(":") if at.rpartition(":")[2].isdigit() else (at, "", "")
    role: Role = "controller" if controller else "agent"
    number = int(port or JOIN_PORT)
    if number > 65535:
        raise typer.BadParameter(f"{number} is no port", param_hint="--at")
    with Invitation(folder, role, address, number) as invitation:
        console.print(
            f"\nOn the computer that joins as {role}, within {JOIN_S / 60:.0f} minutes:\n"
        )
        console.print(f"  {invitation.line}\n", style="bold", soft_wrap=True)
        console.print("Whoever has this line can join, once. Ctrl-C ends the invitation.")
        console.file.flush()  # also into a pipe
        joined = invitation.wait()
        if invitation.refused:
            console.print(f"{invitation.refused} attempts without the secret", style="yellow")
    if joined is None:
        raise HostError("nobody has joined", remedy="Invite again: mlink agent invite.")
    console.print(f"{joined.host} has joined as {role}")
    if joined.address:
        remember_host(folder, joined.host, joined.address)
        console.print(f"its address: {joined.address} (hosts.toml)")


def _join(folder: Path, given: tuple[str, ...], host: str, listen: tuple[str, ...]) -> Keyring:
    from mlink.hosts.link.joining import join

    port = listen[0].rpartition(":")[2]
    return join(folder, given[0], given[1], host, int(port) if port.isdigit() else 0)


def _install(console: Console, folder: Path) -> None:
    from mlink.hosts.link.keyring import read_keyring, write_private

    read_keyring(folder)
    base = os.environ.get("XDG_CONFIG_HOME")
    units = (Path(base) if base else Path.home() / ".config") / "systemd" / "user"
    # no systemd unit has % as it is, and quotes take blanks
    python, where = (each.replace("%", "%%") for each in (sys.executable, str(folder.absolute())))
    text = _TEMPLATE.read_text().replace("@python@", f'"{python}"')
    text = text.replace("@folder@", f'"MLINK_HOSTS_DIR={where}"')
    write_private(units / "mlink-agent.service", text.encode())
    console.print(
        f"{units / 'mlink-agent.service'} is written. Start it, now and at each start:\n\n"
        "  systemctl --user daemon-reload\n"
        "  systemctl --user enable --now mlink-agent\n"
        "  sudo loginctl enable-linger $USER      # also while nobody is logged in\n"
        "  journalctl --user -u mlink-agent       # its log"
    )
