"""Keys on the curve P-256, as `cosign sign-blob --key` and `openssl dgst -sha256 -verify` use them.

The private half comes from the environment and goes nowhere: neither into arguments nor into files of a run.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from fleetctl.children import SIGNING_KEY, SIGNING_PASSPHRASE
from fleetctl.errors import SigningError

_HINT = f"set {SIGNING_KEY} to the path of a private key in PEM, or to the PEM itself"
_MAKE_HINT = "make a pair with `fleetctl keys new`"
_LONGEST_PASSPHRASE = 1023  # that OpenSSL encrypts with


class PublicKey(Struct, frozen=True):
    """`fingerprint` is the sha256 of the key's DER form, and the name that boards know it by."""

    pem: str
    fingerprint: str


class PrivateKey:
    """A key that can sign; it shows nothing of itself."""

    __slots__ = ("_key", "public")

    def __init__(self, public: PublicKey, key: Any) -> None:
        self.public = public
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256, in DER."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return bytes(self._key.sign(message, ec.ECDSA(hashes.SHA256())))

    def to_pem(self, passphrase: str) -> bytes:
        """The private half in PKCS#8, encrypted unless the passphrase is empty.

        Raises:
            SigningError: nothing can be encrypted with that passphrase.
        """
        from cryptography.hazmat.primitives import serialization as form

        secret = _encoded(passphrase, SIGNING_PASSPHRASE)
        if len(secret) > _LONGEST_PASSPHRASE:
            raise SigningError(
                f"the passphrase in {SIGNING_PASSPHRASE} is longer than {_LONGEST_PASSPHRASE} bytes",
                hint="set a shorter one",
            )
        encryption = form.BestAvailableEncryption(secret) if secret else form.NoEncryption()
        return bytes(self._key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption))


def make_key() -> PrivateKey:
    """A fresh pair."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _private(ec.generate_private_key(ec.SECP256R1()))


def key_from(environment: Mapping[str, str]) -> PrivateKey | None:
    """The private key that the environment holds or points at; None where it has none.

    Raises:
        SigningError: it cannot be read, opened with the passphrase, or is of another kind.
    """
    said = environment.get(SIGNING_KEY, "")
    if not said.strip():
        return None
    return parse_private(_pem_of(said), environment.get(SIGNING_PASSPHRASE, ""), SIGNING_KEY)


def parse_private(pem: bytes, passphrase: str, source: str) -> PrivateKey:
    """A private key from its PEM; no error repeats any of it.

    Raises:
        SigningError: `source` has none, or one that needs another passphrase, or is of another kind.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, passphrase.encode() or None)
    except TypeError:  # encrypted and no passphrase given, or the other way round
        needs, do = ("no", "unset") if passphrase else ("a", "set")
        hint = f"{do} {SIGNING_PASSPHRASE}"
        raise SigningError(f"the key in {source} needs {needs} passphrase", hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):
        what = "opens with no such passphrase, or is" if passphrase else "is"
        raise SigningError(f"what {source} holds {what} no private key in PEM", hint=_HINT) from None
    return _private(_on_p256(key, source))


def parse_public(pem: str, source: str) -> PublicKey:
    """A public key from its PEM.

    Raises:
        SigningError: `source` is no public key on P-256.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        if "PRIVATE KEY-----" in pem:
            hint = f"take it out of there; once git has it, it is known: {_MAKE_HINT}"
            raise SigningError(f"{source} is a private key", hint=hint) from None
        raise SigningError(f"{source} is not a public key in PEM", hint=_MAKE_HINT) from None
    return _public(_on_p256(key, source))


def verifies(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the private half of `key` made this signature of the message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    loaded = load_pem_public_key(key.pem.encode())
    if not isinstance(loaded, ec.EllipticCurvePublicKey):
        return False
    try:
        loaded.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _pem_of(said: str) -> bytes:
    if "-----BEGIN" in said:
        return _encoded(said, SIGNING_KEY)
    try:
        return Path(said).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # the last: `~` of a user without a home
        # What the variable holds is not repeated: it may be a key that was pasted without its head.
        reason = getattr(error, "strerror", None) or "it is no path"
        raise SigningError(
            f"the key that {SIGNING_KEY} points at cannot be read: {reason}", hint=_HINT
        ) from None


def _encoded(said: str, variable: str) -> bytes:
    try:
        return said.encode()
    except UnicodeEncodeError:  # it would repeat what was said
        raise SigningError(f"{variable} is not UTF-8", hint="set it anew") from None


def _on_p256(key: Any, source: str) -> Any:
    if getattr(getattr(key, "curve", None), "name", "") != "secp256r1":
        raise SigningError(f"the key in {source} is not on the curve P-256", hint=_MAKE_HINT)
    return key


def _private(key: Any) -> PrivateKey:
    return PrivateKey(_public(key.public_key()), key)


def _public(key: Any) -> PublicKey:
    from cryptography.hazmat.primitives import serialization as form

    der = key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(pem.decode(), hashlib.sha256(der).hexdigest())
