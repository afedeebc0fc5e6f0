"""What docs/howto-iothub.md has people type gives certificates that a hub would take."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleetctl.manifest.iothub_rules import HOST, REGISTRY

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "howto-iothub.md").read_text("utf-8")


def test_the_certificate_is_the_boards_own(tmp_path: Path) -> None:
    """It names the board, is signed by the fleet's CA, is for clients, and cannot sign others."""
    script = "\n".join(re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE))
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, capture_output=True)
    verify = ["openssl", "verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "karnak-07.pem"]
    subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True)
    board, ca = x509.load_pem_x509_certificates((tmp_path / "karnak-07.pem").read_bytes())

    assert ["karnak-07"] == [each.value for each in board.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    assert board.issuer == ca.subject
    usage = board.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [ExtendedKeyUsageOID.CLIENT_AUTH] == list(usage)
    assert not board.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_what_is_to_be_written_can_be_read() -> None:
    """The files of IoT Edge are TOML with every key that it asks for; so is the manifest's line."""
    by_hand, by_service = (tomllib.loads(each) for each in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
    (line,) = (yaml.safe_load(each)["iothub"] for each in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))

    assert {"source", "iothub_hostname", "device_id", "authentication"} == set(by_hand["provisioning"])
    assert {"source", "global_endpoint", "id_scope", "attestation"} == set(by_service["provisioning"])
    for part in (by_hand["provisioning"]["authentication"], by_service["provisioning"]["attestation"]):
        assert ("x509", {"method", "identity_cert", "identity_pk"}) == (part["method"], set(part))
    assert HOST.matches(line["host"])
    assert REGISTRY.matches(line["registry"])
