"""Which cookies of a request are a session's, before and after they were given another name, and how many are kept."""

from __future__ import annotations

import pytest
from starlette.responses import Response

from antechamber.model import IdPrefix, new_cookie, new_id, new_secret
from antechamber.web import cookies
from antechamber.web.addresses import Site

HTTPS, HTTP = Site("https://sign-in.ante.example"), Site("http://localhost:8700")
SESSION = "ses_00000000000000000000"


def asked(*pairs):
    return {"headers": [(b"cookie", "; ".join(f"{name}={value}" for name, value in pairs).encode())]}


def test_what_was_given_before_is_read_under_its_name_of_before():
    before, now = new_secret(), new_cookie()
    scope = asked((f"__Secure-antechamber_{SESSION}", before.reveal()), (f"__Host-antechamber_{SESSION}", now.reveal()))
    assert cookies.of_session(scope, HTTPS, SESSION) == [now, before]


def test_nothing_that_is_given_now_is_taken_under_a_name_that_a_neighbour_can_set():
    planted = new_cookie().reveal()
    for name in (f"__Secure-antechamber_{SESSION}", f"antechamber_{SESSION}"):
        assert cookies.of_session(asked((name, planted)), HTTPS, SESSION) == []
    # by http there is no such name, and its page is this computer's
    assert len(cookies.of_session(asked((f"antechamber_{SESSION}", planted)), HTTP, SESSION)) == 1


@pytest.mark.parametrize(("site", "start"), [(HTTPS, "__Host-antechamber_"), (HTTP, "antechamber_")])
def test_a_cookie_is_of_this_site_alone_and_of_every_path_only_where_its_name_asks_for_that(site, start):
    response = Response()
    cookies.set_session_cookie(response, site, SESSION, new_cookie())
    said = response.headers["set-cookie"]
    assert said.startswith(f"{start}{SESSION}=host-")
    parts = set(said.split("; "))
    assert {"HttpOnly", "SameSite=strict"} <= parts
    assert ("Secure" in parts, "Path=/" in parts) == (site.secure, site.secure)
    assert not any(part.startswith("Domain") or part == "Partitioned" for part in parts)


@pytest.mark.parametrize("site", [HTTPS, HTTP])
def test_a_cookie_for_a_frame_is_for_that_frames_site_alone(site):
    response = Response()
    cookies.set_session_cookie(response, site, SESSION, new_cookie(), framed=True)
    assert {"Secure", "HttpOnly", "SameSite=none", "Partitioned"} <= set(response.headers["set-cookie"].split("; "))


def test_of_many_sessions_the_oldest_are_forgotten_and_nothing_else():
    names = [f"__Host-antechamber_{new_id(IdPrefix.SESSION)}" for _ in range(cookies.KEPT + 2)]
    others = [("__Host-antechamber_dashboard", "x"), ("__Host-other", "x")]
    scope = asked(*others, *((name, "x") for name in names), (f"__Host-antechamber_{SESSION}", "x"))
    assert cookies.too_many(scope, HTTPS, SESSION) == names[:3]
    response = Response()
    cookies.forget_oldest(response, scope, HTTPS, SESSION)
    gone = [value.decode() for name, value in response.raw_headers if name == b"set-cookie"]
    assert [one.partition("=")[0] for one in gone] == names[:3]
    # a browser takes a change of a __Host- cookie only where the change is one too
    assert all("Max-Age=0" in one and "Path=/" in one and "Secure" in one for one in gone)
    few = asked(*((name, "x") for name in names[: cookies.KEPT - 1]))
    assert cookies.too_many(few, HTTPS, SESSION) == []
    assert cookies.too_many(scope, HTTP, SESSION) == []
    # so many of them fit in a line that nginx and Caddy take
    line = "; ".join(f"{name}={new_cookie().reveal()}" for name in names[: cookies.KEPT])
    assert len(line) < 4096
