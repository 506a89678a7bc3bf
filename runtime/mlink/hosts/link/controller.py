"""The controller's end: a session to the hosts of a bench, and why one is not there."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlink.errors import HostError
from mlink.hosts.link.access import check_endpoints, credentials
from mlink.hosts.link.calls import check_fit
from mlink.hosts.link.certificates import owner_of
from mlink.hosts.link.keyring import Keyring, read_keyring
from mlink.hosts.link.keys import check_host_name
from mlink.hosts.link.session import HostSession, zenoh_module
from mlink.hosts.link.settings import PORT, read_hosts_file

if TYPE_CHECKING:
    import zenoh

_SCOUT_S: Final = 1.0
_MOST_FOUND: Final = 256
_PROBE_S: Final = 2.0
_SEEN_S: Final = 1.0
_TRIES: Final = 3


class Controller(HostSession):
    """A controller's session to hosts.

    Args:
        hosts: Addresses by the names of hosts. An empty address is looked up in hosts.toml, or
            found on the local network where hosts.toml allows that.
        folder: Folder of keys and settings.
        plain: Whether hosts are reached without keys (`--open`).
        also: Addresses of hosts whose names are not known.
        any_name: Whether to believe an agent any name: for lists, not for runs.

    Raises:
        HostError: This host has no keys, is no controller, or an address is wrong or unknown.
    """

    def __init__(
        self,
        hosts: Mapping[str, str],
        folder: Path,
        *,
        plain: bool = False,
        also: Sequence[str] = (),
        any_name: bool = False,
    ) -> None:
        self._keys = None if plain else _controller_keys(folder)
        self.addresses = {check_host_name(name): address or "" for name, address in hosts.items()}
        """Addresses by name; "" for hosts that were found, or are behind others."""
        found = self._look_up(folder)
        endpoints = sorted({each for each in self.addresses.values() if each} | {*found, *also})
        check_endpoints(endpoints, plain=plain)
        names = None if any_name else list(self.addresses)
        rules = None if self._keys is None else credentials(self._keys, hosts=names)
        super().__init__(connect=endpoints, local=True, credentials=rules)
        for _ in range(_TRIES):
            if not self.is_deaf(_SEEN_S):
                break
            self.reopen()

    def _look_up(self, folder: Path) -> Collection[str]:
        missing = [name for name, address in self.addresses.items() if not address]
        if not missing and self.addresses:
            return ()
        known = read_hosts_file(folder)
        if not self.addresses:
            self.addresses = dict(known.hosts)
        for name in missing:
            self.addresses[name] = known.hosts.get(name, "")
        if known.discover:
            return discover(plain=self._keys is None)
        unknown = [name for name in missing if not self.addresses[name]]
        if unknown:
            raise HostError(
                f"no address is known of host {unknown[0]}",
                host=unknown[0],
                remedy=f'Write {unknown[0]} = "tls/ADDRESS:{PORT}" into [hosts] of the bench or of '
                f"{folder / 'hosts.toml'}, or discover = true into the latter.",
            )
        return ()

    def await_hosts(self, timeout_s: float) -> None:
        """Wait until all hosts are there.

        Args:
            timeout_s: How long to wait, in seconds.

        Raises:
            HostError: One is not there, with the reason as far as its address shows it; or its
                version is another one.
        """
        end_s = time.monotonic() + timeout_s
        for name in self.addresses:
            found = self.presence.wait_for(name, max(0.0, end_s - time.monotonic()))
            if not found:
                raise self.why_absent(name)
            check_fit(found, name)

    def why_absent(self, host: str) -> HostError:
        """Return why a host is not there, after a look at its address."""
        address = self.addresses.get(host, "")
        if not address:
            there = ", ".join(each.host for each in self.presence.hosts()) or "none"
            return HostError(
                f"host {host} was not found on the local network; there: {there}",
                host=host,
                remedy=f"Write discover = true into its agent.toml, or its address into hosts.toml "
                f'({host} = "tls/ADDRESS:{PORT}").',
            )
        what, remedy = _probe(host, address, self._keys)
        return HostError(f"host {host} at {address}: {what}", host=host, remedy=remedy)


def discover(*, plain: bool = False) -> list[str]:
    """Return the endpoints of agents of the local network, which answer within a second."""
    module = zenoh_module()
    config = module.Config()
    config.insert_json5("scouting/multicast/enabled", "true")
    scheme = "tcp/" if plain else "tls/"
    found: set[str] = set()
    end_s = time.monotonic() + _SCOUT_S
    scout: Any = module.scout(what="router", config=config)
    with scout:
        while (time.monotonic() < end_s) and len(found) < _MOST_FOUND:
            hello: zenoh.Hello | None = scout.try_recv()
            if hello is None:
                time.sleep(0.02)
                continue
            found.update(each for each in map(str, hello.locators) if each.startswith(scheme))
    return sorted(found)[:_MOST_FOUND]


def _controller_keys(folder: Path) -> Keyring:
    keys = read_keyring(folder)
    if keys.role != "controller":
        raise HostError(
            f"this host is an agent of the lab {keys.lab}: only controllers start runs on others",
            host=keys.host,
            remedy="On the lab's first host: mlink agent invite --controller; then let this host "
            "join again.",
        )
    return keys


def _probe(host: str, address: str, keys: Keyring | None) -> tuple[str, str]:
    """Return what is wrong at an address, and what to do about it."""
    start = f"On that computer: mlink agent. Its address may be another one, too: {address}."
    where, _, port = address.partition("/")[2].partition("?")[0].rpartition(":")
    try:
        with socket.create_connection((where.strip("[]"), int(port)), _PROBE_S) as connection:
            connection.settimeout(_PROBE_S)
            if keys is None:
                return "something listens there, and no agent of this name", start
            return _probe_tls(host, connection, keys)
    except ssl.SSLCertVerificationError as error:
        if "expired" in error.verify_message:
            return "its certificate has expired", "Let it join again: mlink agent invite."
        if "not yet valid" in error.verify_message:
            return "its certificate is not valid yet", "Set the clocks of both: timedatectl."
        what = f"it is not of the lab {keys.lab if keys else ''} ({error.verify_message})"
        return what, "Let it join this lab (mlink agent invite), or correct the address."
    except ssl.SSLError as error:
        return _refusal_of(error), "Let both hosts join one lab (mlink agent invite)."
    except ConnectionRefusedError:
        return "nobody listens there", start
    except TimeoutError:
        return "no answer: it is off, or a firewall is between", start
    except (OSError, ValueError, OverflowError) as error:
        return f"it cannot be reached: {getattr(error, 'strerror', None) or error}", start


def _probe_tls(host: str, connection: socket.socket, keys: Keyring) -> tuple[str, str]:
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # its name is in the common name
    context.load_verify_locations(keys.file("lab.pem"))
    context.load_cert_chain(keys.file("host.pem"), keys.file("host.key"))
    with context.wrap_socket(connection) as link:
        with contextlib.suppress(TimeoutError):
            link.recv(1)  # a refusal of our certificate comes after the handshake
        own = link.getpeercert(binary_form=True) or b""
        name = owner_of(x509.load_der_x509_certificate(own), "its certificate")[1]
    if name != host:
        return f"there is {name}", f"Write {name} in place of {host}, or correct the address."
    return (
        "it is there and its agent does not answer",
        f"Look at its log: journalctl --user -u mlink-agent, on {host}.",
    )


def _refusal_of(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if "expired" in reason:
        return "it refuses this host's certificate: expired (is its clock right?)"
    if "unknown ca" in reason or "bad certificate" in reason or "decrypt error" in reason:
        return "it refuses this host's certificate: it is of another lab"
    return f"no protected connection: {reason}"
