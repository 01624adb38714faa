"""AWS KMS, which moto stands in for: what it is asked for, and how it fails."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import time

import pytest

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.model import SealIdentity
from antechamber.settings import Settings, read_settings
from antechamber.vault import Vault
from tests.roots import KmsPeer, made_of
from tests.servers import Answering

ADA = SealIdentity("ins_1", "default", "ada", "codex", "cred_1", 3)
BOUND = b"what a data key is bound to"


@pytest.fixture
def peer(request, tmp_path) -> KmsPeer:
    return made_of("kms", request, tmp_path)


def away(call, *given):
    with pytest.raises(OperatorError) as refused:
        call(*given)
    assert refused.value.code is Code.ROOT_UNAVAILABLE
    return refused.value.detail


def test_what_is_wrapped_is_bound_by_a_digest_in_its_context_and_nothing_else(peer):
    ring = peer.root().look()
    data_key = b"DUMMY of a data key"
    wrapped = ring.wrap(peer.keys[0], data_key, BOUND)
    digest = base64.b64encode(hashlib.sha256(BOUND).digest()).decode()
    said = peer.at.ask("decrypt", KeyId=peer.keys[0], CiphertextBlob=wrapped, EncryptionContext={"antechamber": digest})
    assert said["Plaintext"] == data_key


def test_a_key_that_is_not_there_is_away(peer):
    good = peer.vault()
    sealed = good.seal(b"DUMMY", ADA)
    gone = peer.keys[0][:-12] + "0" * 12
    peer.keys.append(gone)
    vault = peer.vault(good.key_id)
    assert "NotFoundException" in away(vault.probe, gone)
    vault.reload(gone)
    assert gone in away(vault.seal, b"DUMMY", ADA)
    assert vault.unseal(sealed, ADA) == b"DUMMY"


def test_without_credentials_it_is_away_and_the_error_says_so(peer, monkeypatch):
    vault = peer.vault()
    vault.seal(b"DUMMY", ADA)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "NoCredentialsError" in away(peer.vault().seal, b"DUMMY", ADA)


def test_a_role_that_may_not_use_the_key_says_nothing_of_what_is_wrapped(peer, monkeypatch):
    sealed = peer.vault().seal(b"DUMMY", ADA)
    body = b'{"__type": "AccessDeniedException", "message": "DUMMY"}'
    with Answering(400, {"Content-Type": "application/x-amz-json-1.1"}, body) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", server.url)
        assert "AccessDeniedException" in away(peer.vault().unseal, sealed, ADA)
        targets = [headers["X-Amz-Target"] for _, headers, _ in server.asked]
        assert targets == ["TrentService.Decrypt", "TrentService.Encrypt"]


def test_a_service_that_hangs_is_away_in_time(peer):
    given = Settings(**peer.settings | {"root_s": 0.5})
    vault = Vault.of(peer.roots_of(given), known_key_id=None, has_rows=False)
    with peer.at.hanging():
        asked = time.monotonic()
        assert "Timeout" in away(vault.seal, b"DUMMY", ADA)
        assert time.monotonic() - asked < 10
    vault.seal(b"DUMMY", ADA)


def test_how_keys_are_added_and_taken_away_is_said(peer):
    vault = peer.vault()
    for ask in (vault.add_key, lambda: peer.root().remove(peer.keys[0])):
        with pytest.raises(CallerError) as refused:
            ask()
        assert refused.value.code is Code.KEYS_ELSEWHERE
        assert "ANTECHAMBER_KMS_KEYS" in refused.value.next


@pytest.mark.parametrize(
    "keys",
    [
        "alias/antechamber",
        "0cfcdb7f-1d55-46d4-813b-56d151122184",
        "arn:aws:kms:eu-central-1:123456789012:alias/antechamber",
        "arn:aws:kms:eu-central-1:123456789012:key/",
        "arn:aws:s3:eu-central-1:123456789012:key/0cfcdb7f",
    ],
)
def test_what_could_come_to_mean_another_key_is_refused(keys):
    with pytest.raises(OperatorError, match="whole ARNs"):
        read_settings(roots="kms", kms_keys=keys)


def test_no_keys_and_one_that_is_named_twice_are_refused():
    with pytest.raises(OperatorError, match="is needed for the root kms"):
        read_settings(roots="kms")
    key = "arn:aws:kms:eu-central-1:123456789012:key/0cfcdb7f"
    with pytest.raises(OperatorError, match="twice"):
        read_settings(roots="kms", kms_keys=f"{key},{key}")


PROGRAM = """
import sys
from pathlib import Path
from antechamber.errors import OperatorError
from antechamber.settings import Settings
from antechamber.vault import roots_of
roots_of(Settings(roots="file,environment"), Path("/none"))
print("boto3" in sys.modules, "botocore" in sys.modules)
sys.modules["boto3"] = None
try:
    roots_of(Settings(roots="kms", kms_keys="arn:aws:kms:eu-central-1:123456789012:key/0cfcdb7f"), Path("/none"))
except OperatorError as error:
    print(error.code, error.message, error.next)
"""


def test_the_library_is_imported_for_this_root_alone_and_its_lack_is_said():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    imported, said = ran.stdout.splitlines()
    assert imported == "False False"
    assert said.startswith("misconfigured")
    assert "antechamber[kms]" in said
