"""The transit engine of a real OpenBao: what it asks for, and how it fails."""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket
import time
from datetime import timedelta

import pytest
import trustme

from antechamber.errors import CallerError, Code, OperatorError
from antechamber.model import SealIdentity, Secret
from antechamber.settings import Settings, read_settings
from antechamber.vault import Vault, at_the_root
from antechamber.vault.transit import Transit, TransitRing, token_of
from tests.roots import TransitPeer
from tests.servers import Answering

FRESH = {"known_key_id": None, "has_rows": False}
ADA = SealIdentity("ins_1", "default", "ada", "codex", "cred_1", 3)


@pytest.fixture
def peer(bao, tmp_path):
    return TransitPeer(tmp_path, bao)


def away(call, *given):
    with pytest.raises(OperatorError) as refused:
        call(*given)
    assert refused.value.code is Code.ROOT_UNAVAILABLE
    assert refused.value.retryable
    return refused.value.detail


def test_the_token_is_read_again_when_it_was_renewed(peer):
    vault = peer.vault()
    sealed = vault.seal(b"DUMMY", ADA)
    peer.token_file.write_text("DUMMY-revoked")
    assert "HTTP 403" in away(vault.unseal, sealed, ADA)
    assert "HTTP 403" in away(vault.seal, b"DUMMY", ADA)
    peer.give_token()
    assert vault.unseal(sealed, ADA) == b"DUMMY"


@pytest.mark.parametrize("content", [None, "", "two words", "a\r\nX-Other: b", "\xff"])
def test_a_token_that_is_none_is_waited_for_and_not_sent(peer, content):
    vault = peer.vault()
    peer.token_file.unlink()
    if content is not None:
        peer.token_file.write_text(content)
    said = away(vault.seal, b"DUMMY", ADA)
    assert str(peer.token_file) in said
    assert "HTTP" not in said
    peer.give_token()
    vault.seal(b"DUMMY", ADA)


def test_a_token_from_the_environment_does_too(peer, monkeypatch):
    monkeypatch.setattr("antechamber.settings._taken", {})
    token = peer.token_file.read_text().strip()
    for name, value in (peer.environment | {"ANTECHAMBER_TRANSIT_TOKEN": token}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ANTECHAMBER_TRANSIT_TOKEN_FILE")
    read = read_settings()
    assert token not in repr(read)
    vault = Vault.of(peer.roots_of(read), **FRESH)
    vault.probe(vault.key_id)


def test_a_token_that_may_not_rotate_says_what_the_operator_does_and_one_that_may_rotates(peer):
    vault = peer.vault()
    with pytest.raises(CallerError) as refused:
        vault.add_key()
    assert refused.value.code is Code.KEYS_ELSEWHERE
    assert f"bao write -f transit/keys/{peer.name}/rotate" in refused.value.next
    assert len(peer.vault().key_ids) == 1
    peer.give_token(f"transit/keys/{peer.name}/rotate")
    assert vault.add_key() == f"transit:transit/{peer.name}:v2"
    with pytest.raises(CallerError) as refused:
        vault.remove_key(f"transit:transit/{peer.name}:v2")
    assert "min_decryption_version=3" in refused.value.next


def test_another_authority_than_the_servers_is_refused_before_the_token_is_sent(peer, tmp_path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    given = Settings(**peer.settings | {"transit_ca_file": other})
    detail = away(lambda: Vault.of(peer.roots_of(given), **FRESH))
    assert "CERTIFICATE_VERIFY_FAILED" in detail
    for wrong in (tmp_path / "none", peer.token_file):
        given = Settings(**peer.settings | {"transit_ca_file": wrong})
        with pytest.raises(OperatorError) as refused:
            Vault.of(peer.roots_of(given), **FRESH)
        assert refused.value.code is Code.MISCONFIGURED


def test_a_namespace_has_keys_of_its_own(bao, tmp_path):
    name = f"team-{secrets.token_hex(4)}"
    bao.ask("POST", f"sys/namespaces/{name}", {})
    bao.ask("POST", "sys/mounts/of/keys", {"type": "transit"}, namespace=name)

    class OfATeam(TransitPeer):
        namespace, mount = name, "of/keys"

    peer = OfATeam(tmp_path, bao)
    vault = peer.vault()
    assert vault.key_id == f"transit:of/keys/{peer.name}:v1"
    assert vault.unseal(vault.seal(b"DUMMY", ADA), ADA) == b"DUMMY"
    away(lambda: Vault.of(peer.roots_of(Settings(**peer.settings | {"transit_namespace": None})), **FRESH))


def test_a_key_that_is_not_there_is_not_made(peer):
    peer.name = "of-nobody"
    peer.paths = [f"transit/{what}/of-nobody" for what in ("encrypt", "decrypt", "keys")]
    peer.give_token()
    with pytest.raises(OperatorError) as refused:
        peer.vault()
    assert refused.value.code is Code.KEY_MISSING
    assert "bao write -f transit/keys/of-nobody" in refused.value.next


@pytest.mark.parametrize("kind", [{"type": "rsa-2048"}, {"type": "ed25519"}, {"derived": True}])
def test_a_key_that_does_not_bind_what_it_wraps_is_refused(peer, kind):
    name = f"of-{secrets.token_hex(4)}"
    peer.ask("POST", f"transit/keys/{name}", kind)
    peer.name, peer.paths = name, [f"transit/keys/{name}"]
    peer.give_token()
    with pytest.raises(OperatorError) as refused:
        peer.vault()
    assert refused.value.code is Code.KEY_UNREADABLE


def test_a_version_that_may_not_wrap_any_more_wraps_nothing_and_still_opens(peer):
    vault = peer.vault()
    sealed = vault.seal(b"DUMMY", ADA)
    peer.add()
    peer.ask("POST", f"transit/keys/{peer.name}/config", {"min_encryption_version": 2})
    assert "HTTP 400" in away(vault.seal, b"DUMMY", ADA)
    assert vault.unseal(sealed, ADA) == b"DUMMY"


def test_a_sealed_server_and_one_that_is_not_there_are_away(peer, bao):
    vault = peer.vault()
    sealed = vault.seal(b"DUMMY", ADA)
    with bao.sealed():
        assert "HTTP 503" in away(vault.unseal, sealed, ADA)
        away(peer.vault)
    assert vault.unseal(sealed, ADA) == b"DUMMY"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    given = Settings(**peer.settings | {"transit_url": f"https://127.0.0.1:{nobody}"})
    assert "ConnectError" in away(lambda: Vault.of(peer.roots_of(given), **FRESH))


async def test_a_server_that_hangs_is_away_in_time_and_holds_up_nobody_else(peer, bao):
    peer.within = 0.5
    vault = await at_the_root(peer.vault)
    with bao.hanging():
        asked = time.monotonic()
        # more than there are threads for
        begin = asyncio.get_running_loop().create_task
        calls = [begin(at_the_root(vault.seal, b"DUMMY", ADA)) for _ in range(12)]
        turns = 0
        while not all(call.done() for call in calls):
            await asyncio.sleep(0.01)
            turns += 1
        assert time.monotonic() - asked < 10
        assert turns > 20
        for call in calls:
            assert call.exception().code is Code.ROOT_UNAVAILABLE
    await at_the_root(vault.seal, b"DUMMY", ADA)


def test_whether_it_answers_is_asked_once_for_a_moment(peer, bao):
    vault = peer.vault()
    vault.answers()
    with bao.sealed():
        vault.answers()
        vault._answered_at = float("-inf")
        assert away(vault.answers) == away(vault.answers)
        refused_at = vault._refused_at
        away(vault.answers)
        assert vault._refused_at == refused_at, "it was not asked again"
    vault._refused_at = float("-inf")
    vault.answers()


def root_at(url):
    return Transit(
        url,
        mount="transit",
        name="antechamber",
        namespace=None,
        token=token_of(None, Secret("DUMMY-token")),
        authorities=None,
        within=timedelta(seconds=5),
    )


def test_a_redirect_is_not_followed_with_the_token():
    with Answering(200, {}) as other, Answering(307, {"Location": f"{other.url}/v1/x"}) as first:
        assert "HTTP 307" in away(root_at(first.url).ask, "encrypt/antechamber", {})
        assert len(first.asked) == 1
        assert other.asked == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"data": {"ciphertext": 7}}', b'{"data": {"ciphertext": "x"}}']
)
def test_an_answer_that_is_none_is_one_of_a_root_that_is_away(body):
    with Answering(200, {}, body) as server:
        ring = TransitRing(root_at(server.url), {"a key": 1})
        away(ring.wrap, "a key", b"DUMMY", b"bound")
        away(ring.unwrap, "a key", b"vault:v1:AAAA", b"bound")
        away(root_at(server.url).look)


def test_an_answer_without_end_is_not_read_to_it():
    with Answering(200, {}, b"x" * (3 * 2**20)) as server:
        assert "without end" in away(root_at(server.url).ask, "encrypt/antechamber", {})


@pytest.mark.parametrize(
    "url", ["http://bao.example:8200", "https://bao.example/path", "https://ann@bao.example", "bao", "ftp://127.0.0.1"]
)
def test_a_server_that_would_get_the_token_in_the_clear_is_refused(url):
    with pytest.raises(OperatorError, match="TRANSIT_URL"):
        read_settings(roots="transit", transit_url=url)
    assert read_settings(roots="transit", transit_url="http://127.0.0.1:8100").transit_url
    with pytest.raises(OperatorError, match="is needed for the root transit"):
        read_settings(roots="transit")


def test_nothing_of_an_owner_is_told_to_the_server(peer, monkeypatch):
    told, ask = [], Transit.ask

    def listened_to(self, path, body=None, **more):
        told.append((path, body))
        return ask(self, path, body, **more)

    monkeypatch.setattr(Transit, "ask", listened_to)
    vault = peer.vault()
    vault.unseal(vault.seal(b"DUMMY", ADA), ADA)
    assert {path.partition("/")[0] for path, _ in told} == {"keys", "encrypt", "decrypt"}
    bound = [base64.b64decode(body["associated_data"]) for _, body in told if body]
    assert len(set(bound)) == 1
    assert len(bound[0]) == 32
    assert all(name not in f"{told}".encode() + bound[0] for name in (b"ada", b"cred_1", b"codex"))
