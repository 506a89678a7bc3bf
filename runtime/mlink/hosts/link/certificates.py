"""Certificates of hosts (X.509, P-256): made and checked, without files.

A certificate is signed by the lab. Its common name, by which Zenoh's access control knows a peer,
is "controller" or "agent:HOST"; its alternative name is the host's.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from mlink.errors import HostError
from mlink.hosts.link.keys import check_host_name

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

Role = Literal["controller", "agent"]
REJOIN: Final = "Let this host join again: mlink agent invite, on the lab's first host."
_EARLIER: Final = datetime.timedelta(days=1)
"""Certificates are valid from a day ago: clocks of hosts differ before they are set."""


def utc_now() -> datetime.datetime:
    """Return the time by the system's clock."""
    return datetime.datetime.now(datetime.UTC)


def new_key() -> EllipticCurvePrivateKey:
    """Return a new private key (P-256)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def key_bytes(key: EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM."""
    from cryptography.hazmat.primitives import serialization as as_

    return bytes(key.private_bytes(as_.Encoding.PEM, as_.PrivateFormat.PKCS8, as_.NoEncryption()))


def public_bytes(key: EllipticCurvePrivateKey) -> bytes:
    """Return the public half of a key as PEM."""
    from cryptography.hazmat.primitives import serialization as as_

    form = as_.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(as_.Encoding.PEM, form))


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.PEM))


def make_certificate(
    lab: str,
    owner: tuple[Role, str] | None,
    signer: EllipticCurvePrivateKey,
    public_key: Any,
    days: int,
) -> x509.Certificate:
    """Return a certificate of a host by its role and name, or of the lab itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = utc_now()
    builder = (
        x509.CertificateBuilder()
        .issuer_name(name(lab))
        .subject_name(name(lab if owner is None else common_name(*owner)))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    if owner is not None:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        dns = x509.DNSName(owner[1])
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName([dns]), critical=False)
        )
    else:
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(signer, SHA256())


def common_name(role: Role, host: str) -> str:
    """Return the common name of a host's certificate."""
    return "controller" if role == "controller" else f"agent:{host}"


def owner_of(certificate: x509.Certificate, where: str) -> tuple[Role, str]:
    """Return role and name of a certificate's host.

    Raises:
        HostError: It has none: it is not one of mlink.
    """
    from cryptography import x509

    role = name_in(certificate).partition(":")[0]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        host = found.value.get_values_for_type(x509.DNSName)[0]
        if role in ("controller", "agent"):
            return ("controller" if role == "controller" else "agent"), check_host_name(host)
    except (x509.ExtensionNotFound, IndexError, ValueError, HostError):
        pass
    raise HostError(f"{where} is no certificate of a host of mlink", remedy=REJOIN)


def name_in(certificate: x509.Certificate) -> str:
    """Return a certificate's common name: that of the lab in the lab's own."""
    from cryptography.x509.oid import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def check_dates(certificate: x509.Certificate, what: str, how: str) -> None:
    """Refuse a certificate that is not valid now.

    Raises:
        HostError: It is not yet, or no longer.
    """
    now = utc_now()
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > until:
        text = f"{what} has expired on {until:%Y-%m-%d}"
        raise HostError(text, remedy=f"Make a new one: {how}; then join again.")
    if now < since:
        raise HostError(
            f"{what} is valid from {since:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M}",
            remedy="Set this computer's clock: timedatectl.",
        )


def check_signed(certificate: x509.Certificate, authority: x509.Certificate) -> None:
    """Refuse a certificate that a lab has not signed.

    Raises:
        HostError: It is of another lab.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise HostError(
            f"a certificate is not of the lab {name_in(authority)}: another lab has signed it",
            remedy="Let that host join this lab: mlink agent invite.",
        ) from error
