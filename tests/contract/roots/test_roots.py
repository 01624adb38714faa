"""What every root must do, by the names of OpenBao's own tests of what it wraps."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import secrets
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from antechamber.errors import CallerError, Code, OperatorError, VaultError
from antechamber.model import Sealed, SealIdentity
from antechamber.vault import Vault
from tests.roots import PEERS

ADA = SealIdentity("ins_1", "default", "ada", "codex", "cred_1", 3)
BOB = replace(ADA, user_id="bob")
PLAIN = b'{"tokens": "DUMMY"}'
BOUND = b"what a data key is bound to"


def refused(call, *given):
    with pytest.raises(VaultError) as refusal:
        call(*given)
    assert refusal.value.code is Code.OPEN_FAILED
    assert "DUMMY" not in f"{refusal.value} {refusal.value.detail}"


def added(peer, vault):
    """Add a key as it is done with this root, have the vault seal with it as a rotation does, and return its id."""
    before = vault.key_ids
    peer.add()
    vault = peer.vault(vault.key_id)
    (fresh,) = set(vault.key_ids) - set(before)
    vault.reload(fresh)
    return vault, fresh


def test_confidential(peer):
    data_key = secrets.token_bytes(48)
    ring = peer.root().look(make=True)
    wrapped = ring.wrap(ring.preferred, data_key, BOUND)
    assert ring.unwrap(ring.preferred, wrapped, BOUND) == data_key
    vault = peer.vault()
    sealed = vault.seal(PLAIN, ADA)
    assert vault.unseal(sealed, ADA) == PLAIN
    kept = wrapped + sealed.wrapped_key + sealed.ciphertext
    for secret in (data_key, PLAIN, b"DUMMY"):
        for shown in (secret, base64.b64encode(secret)[: len(secret) // 3 * 4], secret.hex().encode()):
            assert shown not in kept


def test_integrity(peer):
    ring = peer.root().look(make=True)
    key_id = ring.preferred
    data_key = secrets.token_bytes(48)
    wrapped = ring.wrap(key_id, data_key, BOUND)
    for other in (BOUND + b"x", BOUND[:-1], b""):
        refused(ring.unwrap, key_id, wrapped, other)
    for cut in (0, 1, len(wrapped) // 2, len(wrapped) - 1):
        refused(ring.unwrap, key_id, wrapped[:cut], BOUND)
    for position in range(0, len(wrapped), 3):
        changed = bytearray(wrapped)
        changed[position] ^= 1
        opened = None
        with suppress(VaultError):
            opened = ring.unwrap(key_id, bytes(changed), BOUND)
        # where wrapped keys are text, the spare bits of its last letter mean nothing to whoever reads it
        assert opened is None or (opened == data_key and position >= len(wrapped) - 3)


def test_integrity_of_what_is_sealed_for_one_and_moved_to_another(peer):
    vault = peer.vault()
    mine, theirs = vault.seal(PLAIN, ADA), vault.seal(b"DUMMY of bob", BOB)
    refused(vault.unseal, mine, BOB)
    refused(vault.rewrap, mine, BOB)
    for identity in (ADA, BOB):
        refused(vault.unseal, replace(mine, wrapped_key=theirs.wrapped_key), identity)


def test_unique_nonces(peer):
    ring = peer.root().look(make=True)
    data_key = secrets.token_bytes(48)
    wrapped = [ring.wrap(ring.preferred, data_key, BOUND) for _ in range(40)]
    assert len(set(wrapped)) == 40
    # nor do two share their beginning, where each keeps its nonce
    assert len({one[-60:][:16] for one in wrapped}) == 40


def test_wrong_key(peer):
    mine, other = peer.vault(), peer.another().vault()
    sealed = mine.seal(PLAIN, ADA)
    refused(other.unseal, sealed, ADA)
    refused(other.unseal, replace(sealed, key_id=other.key_id), ADA)
    refused(mine.unseal, replace(sealed, key_id="key_00000000"), ADA)
    with pytest.raises(OperatorError) as refusal:
        peer.another().vault(known=mine.key_id)
    assert refusal.value.code in {Code.KEY_MISMATCH, Code.KEY_MISSING}


def test_wrong_key_of_the_same_root(peer):
    vault = peer.vault()
    before = vault.seal(PLAIN, ADA)
    first = vault.key_id
    vault, second = added(peer, vault)
    refused(vault.unseal, replace(before, key_id=second), ADA)
    refused(vault.unseal, replace(vault.seal(PLAIN, ADA), key_id=first), ADA)


def test_rotate(peer):
    vault = peer.vault()
    first, before = vault.key_id, vault.seal(PLAIN, ADA)
    vault, second = added(peer, vault)
    assert vault.key_ids == (first, second)
    after = vault.seal(PLAIN, ADA)
    assert (before.key_id, after.key_id) == (first, second)
    restarted = peer.vault(second)
    for sealed in (before, after):
        assert restarted.unseal(sealed, ADA) == PLAIN
    peer.take_away(first)
    left = peer.vault(second)
    assert left.key_ids == (second,)
    assert left.unseal(after, ADA) == PLAIN
    refused(left.unseal, before, ADA)
    with pytest.raises(OperatorError) as refusal:
        left.require([first])
    assert refusal.value.code is Code.KEY_MISMATCH


def test_upgrade(peer):
    vault = peer.vault()
    before = vault.seal(PLAIN, ADA)
    vault, second = added(peer, vault)
    after = vault.rewrap(before, ADA)
    assert (after.key_id, after.ciphertext, after.format_version) == (second, before.ciphertext, before.format_version)
    assert after.wrapped_key != before.wrapped_key
    peer.take_away(before.key_id)
    assert peer.vault(second).unseal(after, ADA) == PLAIN


def test_upgrade_of_what_an_earlier_release_has_sealed(tmp_path):
    kept = json.loads((Path(__file__).parent / "sealed_by_0_1.json").read_text())
    (tmp_path / "key").write_text(json.dumps(kept["key_file"]))
    (tmp_path / "key").chmod(0o600)
    for known in (one["key_id"] for one in kept["sealed"]):
        vault = Vault.open(tmp_path / "key", known_key_id=known, has_rows=True)
        for row in kept["sealed"]:
            ciphertext, wrapped = (base64.b64decode(row[name]) for name in ("ciphertext", "wrapped_key"))
            sealed = Sealed(ciphertext, wrapped, row["key_id"], row["format_version"])
            assert vault.unseal(sealed, ADA) == row["plain"].encode()
            assert vault.unseal(vault.rewrap(sealed, ADA), ADA) == row["plain"].encode()


@pytest.mark.parametrize(("here", "there"), list(itertools.permutations(PEERS, 2)))
def test_move(made, here, there):
    old, new = made(here), made(there)
    sealing = old.vault()
    before = sealing.seal(PLAIN, ADA)
    both = Vault.of([old.root(), new.root()], known_key_id=sealing.key_id, has_rows=True)
    assert both.key_id == sealing.key_id, "what the database names seals until a rotation"
    if not (there_are := [one for one in both.key_ids if both.root_of(one) == there]):
        there_are = [both.add_key()]
    both.reload(there_are[-1])
    moved = both.rewrap(before, ADA)
    assert (both.unseal(before, ADA), both.unseal(moved, ADA)) == (PLAIN, PLAIN)
    alone = new.vault(moved.key_id)
    assert alone.unseal(moved, ADA) == PLAIN
    refused(alone.unseal, before, ADA)
    with pytest.raises(OperatorError) as refusal:
        new.vault(sealing.key_id)
    assert refusal.value.code in {Code.KEY_MISMATCH, Code.KEY_MISSING}


def test_a_stale_service_seals_and_opens_with_what_it_knows_and_finds_the_rest_when_it_looks(peer):
    stale = peer.vault()
    first = stale.key_id
    fresh, second = added(peer, stale)
    sealed = fresh.seal(PLAIN, ADA)
    assert fresh.unseal(stale.seal(PLAIN, ADA), ADA) == PLAIN
    refused(stale.unseal, sealed, ADA)
    # what its environment held is all that a service of then ever has
    if peer.kind in {"environment", "kms"}:
        with pytest.raises(OperatorError) as refusal:
            stale.reload(second)
        assert refusal.value.code is Code.KEY_MISMATCH
        assert stale.key_id == first
        return
    stale.reload(second)
    assert stale.unseal(sealed, ADA) == PLAIN


def test_what_a_service_may_not_do_to_its_root_it_says_with_what_the_operator_does(peer):
    if peer.kind == "file":
        return
    vault = peer.vault()
    first = vault.key_id
    vault, _ = added(peer, vault)
    with pytest.raises(CallerError) as refusal:
        vault.remove_key(first)
    assert refusal.value.code is Code.KEYS_ELSEWHERE
    assert first in vault.key_ids


def test_a_probe_says_whether_the_key_that_seals_works(peer):
    vault = peer.vault()
    vault.probe(vault.key_id)
    vault.answers()


PROGRAM = """
import logging, sys
from pathlib import Path
from antechamber import log
from antechamber.settings import read_settings
from antechamber.vault import roots_of
log.configure("DEBUG")
(root,) = roots_of(read_settings(), Path(sys.argv[1]))
ring = root.look(make=True)
data_key = bytes.fromhex(sys.stdin.read())
assert ring.unwrap(ring.preferred, ring.wrap(ring.preferred, data_key, b"bound"), b"bound") == data_key
try:
    ring.unwrap(ring.preferred, ring.wrap(ring.preferred, data_key, b"bound"), b"other")
except Exception as error:
    logging.getLogger("some.library").debug("DUMMY was said", exc_info=error)
"""


def test_no_log_of_any_level_has_a_token_or_a_data_key(peer, tmp_path):
    data_key = secrets.token_bytes(48)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "key")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **peer.environment},
        input=data_key.hex(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "DUMMY was said" in ran.stderr
    # their words are redacted as all are, but what prints each request is not to be trusted with that
    assert not re.search(r'"(botocore|boto3|urllib3|httpx|httpcore)[.\w]*"', ran.stderr)
    for secret in (base64.b64encode(data_key).decode(), data_key.hex(), *peer.secrets):
        assert secret not in ran.stderr + ran.stdout
