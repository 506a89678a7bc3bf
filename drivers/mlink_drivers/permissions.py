"""Reports why this user may not open a device node, and what to do about it."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

_REMEDY: Final = "sudo usermod -aG {group} $USER, then log out and in again"


class Account(msgspec.Struct, frozen=True):
    """The groups of this user, in this process and in the system's group database.

    They differ until the next login after a user is added to a group.
    """

    active: frozenset[str]
    noted: frozenset[str]


def this_account() -> Account:
    """Return the account under which this process runs."""
    active = {_group_name(number) for number in {*os.getgroups(), os.getegid()}}
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an account without a name, as in containers
        name = ""
    noted = {group.gr_name for group in grp.getgrall() if name and name in group.gr_mem}
    return Account(frozenset(active), frozenset(noted))


def can_use(node: Path) -> bool:
    """Return whether this user may read and write a device node."""
    return os.access(node, os.R_OK | os.W_OK)


def access_problem(
    node: Path,
    usual_group: str,
    usable: Callable[[Path], bool] = can_use,
    account: Callable[[], Account] = this_account,
) -> tuple[str, str]:
    """Return the problem with using a node, and its remedy; ("", "") if there is none.

    Args:
        node: The device node.
        usual_group: Group to name when that of the node is unknown.
        usable: Returns whether this user may use a node.
        account: Returns the groups of this user.
    """
    if usable(node):
        return "", ""
    group = _owning_group(node) or usual_group
    problem = f"this user may not read and write it (group {group})"
    user = account()
    if group in user.active:
        return problem, f"sudo chmod g+rw {node}: its group has no access"
    if group in user.noted:
        return problem, f"you were added to {group}, but not in this session: log out and in again"
    return problem, _REMEDY.format(group=group)


def _owning_group(node: Path) -> str:
    """Return the name of a node's group; "" if the node is gone or belongs to root's group."""
    try:
        number = node.stat().st_gid
    except OSError:
        return ""
    return _group_name(number) if number else ""


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
