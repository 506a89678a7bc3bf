"""What a session asks of its peers: TLS with both ends authenticated, and who may send what."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from mlink.errors import HostError
from mlink.hosts.link.certificates import common_name
from mlink.hosts.link.keyring import Keyring
from mlink.hosts.link.keys import EVERY_ALIVE

_MESSAGES: Final = (
    "put", "delete", "declare_subscriber", "query", "reply", "declare_queryable",
    "liveliness_token", "liveliness_query", "declare_liveliness_subscriber",
)  # fmt: skip
_BEING: Final = ("declare_queryable", "liveliness_token", "reply")
_SEEING: Final = ("liveliness_query", "declare_liveliness_subscriber")
_LOCAL: Final = ("unixsock-stream",)
"""Links of this machine: a folder of this user's alone holds the socket."""
_EVERYTHING: Final = "mlink/**"
_RUNS: Final = "mlink/*/run/**"


def check_endpoints(endpoints: Sequence[str], *, plain: bool) -> None:
    """Refuse endpoints that are not protected, except by an explicit word.

    Args:
        endpoints: Where to listen and to connect to.
        plain: Whether that word was given (`--open`).

    Raises:
        HostError: One is not encrypted, or encrypted where no keys are used.
    """
    for endpoint in endpoints:
        scheme = endpoint.partition("/")[0]
        if scheme in _LOCAL:
            continue
        if scheme not in ("tls", "tcp"):
            raise HostError(
                f"{endpoint[:200]!r} is no address of a host",
                remedy="Write tls/ADDRESS:PORT, such as tls/10.0.0.7:7447.",
            )
        if plain != (scheme == "tcp"):
            what = "is not protected" if scheme == "tcp" else "is protected, and --open was given"
            raise HostError(
                f"{endpoint} {what}",
                remedy="Write tls/ in its place; or, in a network that nobody else uses, tcp/ "
                "together with --open.",
            )


def credentials(keyring: Keyring, *, hosts: Collection[str] | None = None) -> dict[str, Any]:
    """Return the settings of Zenoh for a session with these keys.

    Peers need a certificate of the lab. Only controllers may call. Agents may take part in runs
    and present themselves as hosts.

    Args:
        keyring: This host's keys.
        hosts: Names of the hosts that this end calls: a directly connected agent is then believed
            to be the one that its certificate names, and no other. None believes any name, as is
            needed where hosts are behind others, or are only listed.
    """
    key, certificate = str(keyring.file("host.key")), str(keyring.file("host.pem"))
    return {
        "transport/link/tls": {
            "root_ca_certificate": str(keyring.file("lab.pem")),
            "enable_mtls": True,
            # Hosts have addresses that change; their names are in the common name instead.
            "verify_name_on_connect": False,
            "close_link_on_expiration": True,
            "listen_private_key": key,
            "listen_certificate": certificate,
            "connect_private_key": key,
            "connect_certificate": certificate,
        },
        "access_control": _access(hosts),
    }


def _access(hosts: Collection[str] | None) -> dict[str, Any]:
    """Return who may send what; what no rule allows is refused.

    Zenoh applies a rule to a message whose key is within the rule's. So rules allow and never
    forbid: a query of "mlink/**" would go past a rule that forbids "mlink/*/host/*/call".
    """
    rules = [
        _rule("all", ("ingress", "egress"), _MESSAGES, _EVERYTHING),
        _rule("to-agents", ("egress",), _MESSAGES, _EVERYTHING),
        _rule("runs", ("ingress",), _MESSAGES, _RUNS),
        _rule("runs-both", ("ingress", "egress"), _MESSAGES, _RUNS),
        _rule("see-hosts", ("ingress",), _SEEING, EVERY_ALIVE),
    ]
    controllers = {"id": "controllers", "cert_common_names": [common_name("controller", "")]}
    local = {"id": "local", "link_protocols": list(_LOCAL)}
    members = {"id": "members", "link_protocols": ["tls"]}
    policies: list[dict[str, Any]] = [
        {"rules": ["all"], "subjects": ["controllers"]},
        {"rules": ["runs-both"], "subjects": ["local"]},
        {"rules": ["to-agents", "runs", "see-hosts"], "subjects": ["members"]},
    ]
    subjects = [controllers, local, members]
    if hosts is None:
        rules.append(_rule("be-host", ("ingress",), _BEING, "mlink/*/host/**"))
        policies.append({"rules": ["be-host"], "subjects": ["members"]})
    for host in hosts or ():
        rules.append(_rule(f"be-{host}", ("ingress",), _BEING, f"mlink/*/host/{host}/**"))
        name = common_name("agent", host)
        subjects.append({"id": f"agent-{host}", "cert_common_names": [name]})
        policies.append({"rules": [f"be-{host}"], "subjects": [f"agent-{host}"]})
    return {
        "enabled": True,
        "default_permission": "deny",
        "rules": rules,
        "subjects": subjects,
        "policies": policies,
    }


def _rule(name: str, flows: Sequence[str], messages: Sequence[str], key: str) -> dict[str, Any]:
    return {
        "id": name,
        "permission": "allow",
        "flows": list(flows),
        "messages": list(messages),
        "key_exprs": [key],
    }
