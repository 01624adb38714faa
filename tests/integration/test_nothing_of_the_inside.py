"""No answer to a page or to a caller tells of the inside: no address, no place on the host, no handle, no secret."""

from __future__ import annotations

import re

import pytest

from tests.integration.web_service import running

_IPV4 = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
SECRET = re.compile(r"DUMMY|eyJ[A-Za-z0-9_-]{8}")
HOST_UID = 200_123


@pytest.fixture
async def service(site):
    async with running(site.folder, database_url=site.url) as service:
        yield service


async def test_f041_f087_no_answer_names_an_address_a_place_or_a_secret_of_the_inside(service, site):
    session_id, browser = await service.opened()
    row = await service.begin_machine(session_id, host_uid=HOST_UID)
    await service.ready(session_id)
    await service.capture(session_id)
    operator = await service.operator()
    described = (await operator.get("/openapi.json")).json()["paths"]
    (credential,) = (await operator.get("/api/credentials")).json()["credentials"]
    owner = (await service.signin.session(session_id)).owner.user_id
    await service.start(user_id="who goes")
    gone = await operator.delete("/api/owners", params={"user_id": "who goes"})
    run = await operator.post("/api/runs", json={"user_id": owner, "provider": "codex", "argv": []})
    names = {
        "session_id": session_id,
        "run_id": run.json()["id"],
        "credential_id": credential["id"],
        "user_id": owner,
        "erasure_id": gone.json()["id"],
    }
    asked = {"/api/owners": {"user_id": owner}}
    streams = {"/api/changes", "/api/runs/{run_id}/output"}
    looked = 0
    for path, item in described.items():
        if "get" not in item or path in streams:
            continue
        for client in (operator, browser):
            answer = await client.get(path.format(**names), params=asked.get(path))
            if answer.status_code == 421:
                continue
            assert answer.is_success, (path, answer.text)
            looked += 1
            for told in (answer.text, str(answer.headers)):
                assert set(_IPV4.findall(told)) <= {"127.0.0.1"}, (path, told)
                inside = [row.handle["folder"], row.incarnation, "/run/"]
                # who runs the service may know which uid of their host a machine has, and where the data lie
                inside += [str(HOST_UID), str(site.folder)] if client is browser else []
                assert not [word for word in inside if word in told], (path, told)
            assert not SECRET.search(answer.text), path
    assert looked > 12
