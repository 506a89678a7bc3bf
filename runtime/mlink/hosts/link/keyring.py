"""Keys of a host in one folder: made, read, and checked before they are used.

Files (PEM), all with mode 0600: `lab.pem`, `host.pem`, `host.key`, and on the lab's first host
`lab.key`.
"""

from __future__ import annotations

import datetime
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlink.errors import HostError
from mlink.hosts.link.certificates import (
    REJOIN,
    Role,
    check_dates,
    check_signed,
    key_bytes,
    make_certificate,
    name_in,
    new_key,
    owner_of,
    pem,
)
from mlink.hosts.link.keys import check_host_name

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

HOST_DAYS: Final = 730
"""For how long a host's certificate is valid, in days."""
_LAB_DAYS: Final = 3650
_MOST_BYTES: Final = 65_536


def hosts_folder() -> Path:
    """Return the folder of keys and settings: `MLINK_HOSTS_DIR`, or ~/.config/mlink/hosts."""
    if given := os.environ.get("MLINK_HOSTS_DIR"):
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "mlink" / "hosts"


@dataclass(frozen=True, slots=True)
class Keyring:
    """A host's keys, checked.

    Attributes:
        folder: Where the files are.
        lab: Name of the lab.
        host: Name of the host.
        role: What it may do: "controller" starts runs and may serve them, "agent" serves them.
        until: Until when its certificate is valid.
    """

    folder: Path
    lab: str
    host: str
    role: Role
    until: datetime.datetime

    @property
    def is_first(self) -> bool:
        """Whether this is the lab's first host, which can let others join."""
        return (self.folder / "lab.key").exists()

    def file(self, name: str) -> Path:
        """Return the path of one of the files."""
        return self.folder / name


def make_lab(folder: Path, lab: str, host: str) -> Keyring:
    """Make a lab's certificate authority, and the key and certificate of its first host.

    Args:
        folder: Where to write them; made, for this user only.
        lab: Name of the lab.
        host: Name of this host, which becomes a controller.

    Raises:
        HostError: There are keys already, a name cannot be used, or the folder cannot be written.
    """
    check_host_name(host)
    for name in ("lab.pem", "lab.key", "host.pem", "host.key"):
        if (folder / name).exists():
            raise HostError(
                f"{folder} has keys already ({name})",
                remedy="Keep them; or move that folder away, and let all other hosts join again.",
            )
    if not lab or len(lab) > 64 or not lab.isprintable():
        raise HostError("the name of a lab has 1 to 64 printable characters", remedy="--lab NAME")
    key, own = new_key(), new_key()
    authority = make_certificate(lab, None, key, key.public_key(), _LAB_DAYS)
    own_certificate = make_certificate(lab, ("controller", host), key, own.public_key(), HOST_DAYS)
    write_private(folder / "lab.key", key_bytes(key))
    save_keys(folder, key_bytes(own), pem(own_certificate), pem(authority))
    return read_keyring(folder)


def save_keys(folder: Path, key: bytes, certificate: bytes, authority: bytes) -> None:
    """Write a host's key and certificate and its lab's certificate, for this user only."""
    write_private(folder / "host.key", key)
    write_private(folder / "host.pem", certificate)
    write_private(folder / "lab.pem", authority)


def sign(folder: Path, public_key: bytes, host: str, role: Role) -> tuple[bytes, bytes]:
    """Return a new certificate for a host, and the lab's own, as PEM.

    Args:
        folder: The folder of the lab's first host.
        public_key: The host's public key, PEM.
        host: The host's name.
        role: What it may do.

    Raises:
        HostError: This is not the lab's first host, or the key is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    check_host_name(host)
    authority = _read_certificate(folder / "lab.pem")
    key = _read_key(folder / "lab.key")
    _check_pair(key, authority, "lab.key", folder)
    try:
        theirs = load_pem_public_key(public_key)
    except (ValueError, TypeError) as error:
        raise HostError(f"the key of {host} cannot be read: {error}", host=host) from error
    if not isinstance(theirs, ec.EllipticCurvePublicKey) or theirs.curve.name != "secp256r1":
        raise HostError(f"the key of {host} is not of the curve P-256", host=host)
    signed = make_certificate(name_in(authority), (role, host), key, theirs, HOST_DAYS)
    return pem(signed), pem(authority)


def read_keyring(folder: Path) -> Keyring:
    """Return the keys of this host, after a check of all of them.

    Raises:
        HostError: There are none, others may read them, they are damaged, do not belong together,
            or have expired.
    """
    if not (folder / "host.pem").exists():
        raise HostError(
            f"this host has no keys ({folder})",
            remedy="On the lab's first host: mlink agent init. On others the line that it prints, "
            "or that of mlink agent invite.",
        )
    authority, own = _read_certificate(folder / "lab.pem"), _read_certificate(folder / "host.pem")
    _check_pair(_read_key(folder / "host.key"), own, "host.key", folder)
    check_signed(own, authority)
    role, host = owner_of(own, str(folder / "host.pem"))
    found = Keyring(folder, name_in(authority), host, role, own.not_valid_after_utc)
    check_dates(authority, f"the certificate of the lab {found.lab}", "mlink agent init anew")
    check_dates(own, "this host's certificate", "mlink agent invite on the lab's first host")
    return found


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise HostError(f"{path} is no plain file of a few kB", remedy=REJOIN)
        if found.st_mode & 0o077 and path.suffix == ".key":
            text = f"others may read {path} (mode {stat.S_IMODE(found.st_mode):03o})"
            raise HostError(text, remedy=f"chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}"
        raise HostError(text, remedy=REJOIN) from error


def _read_certificate(path: Path) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise HostError(f"{path} is damaged: it is no certificate", remedy=REJOIN) from error


def _read_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if path.name == "lab.key" and not path.exists():
        raise HostError(
            "this is not the lab's first host, and cannot let others join",
            remedy="Run this on the host where mlink agent init was run.",
        )
    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:
        raise HostError(f"{path} is damaged: it is no key", remedy=REJOIN) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise HostError(f"{path} is a key of another kind", remedy=REJOIN)
    return key


def _check_pair(
    key: EllipticCurvePrivateKey, certificate: x509.Certificate, name: str, folder: Path
) -> None:
    if key.public_key() != certificate.public_key():
        what = f"{name} in {folder} does not belong to its certificate"
        raise HostError(what, remedy=REJOIN)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that this user alone may read; it has its old or its new content.

    Raises:
        HostError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        text = f"{path} cannot be written: {error.strerror}"
        raise HostError(text, remedy="Look at the folder and the disk.") from error
