import pytest
from tests.unit.web.test_front import SITE, answering, client, guarded

from antechamber.web.front import Origins


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/a/b-c_d.e~f", 200),
        *(
            (f"/a{mark}/b", 404)
            for mark in ("%0A", "%0D", "%00", "%7F", "%20", "%2F", "%5C", "%61", "%C3%A9", "/", ";")
        ),
        *((f"/a{mark}", 404) for mark in ("%0A", "%00", "/", "//", "%2F", "/%2e%2e", "%")),
    ],
)
async def test_a_path_that_can_be_read_in_two_ways_goes_no_further_than_the_guard(path, status):
    async with client(guarded(answering("x"))) as browser:
        answer = await browser.get(f"http://one.example{path}")
    assert answer.status_code == status


@pytest.mark.parametrize(
    "path", ["", "*", "a", "/a\n", "/a/../b", "/a/.", "//a", "/a\\b", "http://one.example/a", "/\ud800"]
)
async def test_a_path_without_its_raw_form_is_judged_by_itself(path):
    sent = []

    async def send(message):
        sent.append(message)

    await guarded(answering("x"))({"type": "http", "method": "GET", "path": path, "headers": []}, None, send)
    assert sent[0]["status"] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer x"}, 200),
        ({"Authorization": "Bearer y"}, 401),
        ({"Authorization": ""}, 401),
        ({}, 403),
        ({"Authorization": "Bearer x", "Origin": "http://evil.example"}, 403),
        ({"Authorization": "Bearer x", "Origin": ""}, 403),
        ({"Authorization": "Bearer y", "Origin": "http://one.example"}, 200),
    ],
)
async def test_only_a_bearer_that_the_site_knows_may_leave_the_origin_out(headers, status):
    origins = Origins(answering("x"), SITE, bearer=lambda scope: (b"authorization", b"Bearer x") in scope["headers"])
    async with client(guarded(origins)) as browser:
        assert (await browser.post("/", headers=headers)).status_code == status
