"""The private CA of a hub on loopback: its certificate, the server's, and those of devices."""

import datetime
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from fleetctl.store import atomic_write

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_YEARS = datetime.timedelta(days=3 * 365)
_SKEW = datetime.timedelta(hours=1)


class Credentials(Struct, frozen=True):
    """A certificate and its key, both as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A CA whose key lies in `folder`, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Credentials(folder / "ca.pem", folder / "ca.key")
        if not self.root.key.exists():
            self._found()

    def server(self, host: str) -> Credentials:
        """What the server proves itself with under `host`, a name or an address, and as localhost."""
        credentials = Credentials(self.folder / "server.pem", self.folder / "server.key")
        if not _names(credentials.certificate, host):
            self._issue(credentials, host, [host, "localhost", "127.0.0.1"])
        return credentials

    def device(self, name: str) -> Credentials:
        """What a device signs in with; its common name is the device's, as hubs that trust a CA want it."""
        stem = "".join(each if each.isalnum() or each in "-_" else f"%{ord(each):x}" for each in name)
        folder = self.folder / "devices"
        credentials = Credentials(folder / f"{stem}.pem", folder / f"{stem}.key")
        if not credentials.key.exists():
            self._issue(credentials, name, [])
        return credentials

    def _found(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("fleetctl lab hub CA")
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            _blank(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        _write(self.root, key, builder, key)

    def _issue(self, credentials: Credentials, common_name: str, hosts: list[str]) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        ca_key = serialization.load_pem_private_key(self.root.key.read_bytes(), None)
        ca = x509.load_pem_x509_certificate(self.root.certificate.read_bytes())
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _blank(_name(common_name), ca.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
            )
        )
        if hosts:
            names = [_general_name(host) for host in dict.fromkeys(hosts)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        _write(credentials, key, builder, ca_key)


def thumbprint(certificate: bytes, *, sha1: bool = False) -> str:
    """The fingerprint of a DER certificate as hubs write it: hex digits, upper case."""
    import hashlib

    digest = hashlib.sha1(certificate, usedforsecurity=False) if sha1 else hashlib.sha256(certificate)
    return digest.hexdigest().upper()


def der(certificate: Path) -> bytes:
    """A PEM certificate's bytes as TLS sends them."""
    import ssl

    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def _name(common_name: str) -> "x509.Name":
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name[:64])])


def _blank(
    subject: "x509.Name", issuer: "x509.Name", key: "EllipticCurvePrivateKey"
) -> "x509.CertificateBuilder":
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _YEARS)
    )


def _write(
    credentials: Credentials,
    key: "EllipticCurvePrivateKey",
    builder: "x509.CertificateBuilder",
    signer: "EllipticCurvePrivateKey",
) -> None:
    from cryptography.hazmat.primitives import hashes, serialization

    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    atomic_write(credentials.certificate, builder.sign(signer, hashes.SHA256()).public_bytes(pem))
    atomic_write(credentials.key, secret, mode=0o600)  # last: its being there says that both are


def _general_name(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _names(certificate: Path, host: str) -> bool:
    """Whether a server's certificate is there and vouches for `host`."""
    from cryptography import x509

    if not certificate.exists():
        return False
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return _general_name(host) in list(names)
