"""Letting people in: sessions, forms, failed attempts.

Not covered here: TLS and the __Host- cookie over HTTPS, which need a proxy.
"""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from app.http.application import create_app
from app.identity import commands as identity
from app.identity.errors import LoginInvalid, LoginTaken, ScopeUnknown
from kernel.people import Role
from storage import audit
from tests.app.clinic import PASSWORD, Clinic
from tests.app.web_server import WebServer


def test_whoever_is_not_signed_in_is_led_to_the_sign_in_page(clinic: Clinic):
    answer = clinic.browser().get("/queue")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in"


def test_the_right_password_starts_a_session_with_a_cookie_that_scripts_cannot_read(
    clinic: Clinic,
):
    answer = clinic.browser().sign_in("one")

    assert answer.status_code == 303
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "telerad_session" in c)
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_only_the_digest_of_a_session_token_is_stored(clinic: Clinic):
    browser = clinic.browser("one")
    token = browser.client.cookies["telerad_session"]

    stored = (clinic.directory / "telerad.db").read_bytes()
    wal = (clinic.directory / "telerad.db-wal").read_bytes()

    assert token.encode() not in stored + wal


@pytest.mark.parametrize(("login", "password"), [("one", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_login_and_a_wrong_password_get_the_same_answer(
    clinic: Clinic, login: str, password: str
):
    answer = clinic.browser().sign_in(login, password)

    assert answer.status_code == 401
    assert "Login and password do not fit together" in answer.text


def test_logins_are_the_same_whatever_their_case(clinic: Clinic):
    assert clinic.browser().sign_in("  ONE ").status_code == 303


def test_after_five_failures_not_even_the_right_password_is_tried(clinic: Clinic):
    browser = clinic.browser()
    for _ in range(5):
        browser.sign_in("one", "wrong")

    refused = browser.sign_in("one")
    assert refused.status_code == 429
    assert "try again in" in refused.text
    assert browser.sign_in("two").status_code == 303  # another person from the same address

    clinic.clock.now += timedelta(minutes=16)
    assert clinic.browser().sign_in("one").status_code == 303


def test_a_session_ends_at_sign_out_on_the_server_too(clinic: Clinic):
    browser = clinic.browser("one")
    token = browser.client.cookies["telerad_session"]
    browser.get("/queue")
    browser.post("/sign-out")

    again = clinic.browser()
    again.client.cookies.set("telerad_session", token)
    assert again.get("/queue").headers["location"] == "/sign-in"


def test_signing_in_rotates_the_token_and_ends_the_session_before(clinic: Clinic):
    browser = clinic.browser("one")
    before = browser.client.cookies["telerad_session"]
    other = clinic.browser()
    other.get("/sign-in")
    browser.client.cookies.set("telerad_sign_in", other.client.cookies["telerad_sign_in"])
    browser.token = other.token
    browser.post("/sign-in", login="two", password=PASSWORD)

    stolen = clinic.browser()
    stolen.client.cookies.set("telerad_session", before)
    assert stolen.get("/queue").headers["location"] == "/sign-in"


@pytest.mark.parametrize(
    ("used", "alive"), [(timedelta(minutes=59), True), (timedelta(minutes=61), False)]
)
def test_an_idle_session_closes_itself(clinic: Clinic, used: timedelta, alive: bool):
    browser = clinic.browser("one")
    clinic.clock.now += used

    assert (browser.get("/queue").status_code == 200) is alive


def test_a_session_in_use_ends_after_its_longest_term(clinic: Clinic):
    browser = clinic.browser("one")
    for _ in range(23):
        clinic.clock.now += timedelta(minutes=30)
        assert browser.get("/queue").status_code == 200
    clinic.clock.now += timedelta(minutes=31)

    assert browser.get("/queue").status_code == 303


def test_a_closed_account_is_out_at_once(clinic: Clinic):
    browser = clinic.browser("one")
    with clinic.parts.database.transaction() as tx:
        session = identity.find_session(tx, browser.client.cookies["telerad_session"])
        assert session is not None
        identity.close_account(tx, session.person, by=session.person.actor)

    assert browser.get("/queue").status_code == 303
    assert clinic.browser().sign_in("one").status_code == 401


def test_a_form_without_the_token_of_its_session_is_refused(clinic: Clinic):
    browser = clinic.browser("one")
    other = clinic.browser("two")
    other.get("/queue")
    browser.token = other.token

    assert browser.post("/presence", present="0").status_code == 403


def test_another_site_cannot_sign_somebody_in(clinic: Clinic):
    browser = clinic.browser()
    browser.get("/sign-in")
    fields = {"form_token": browser.token, "login": "one", "password": PASSWORD}
    told = {"Sec-Fetch-Site": "cross-site", "Accept": "text/html"}

    assert browser.client.post("/sign-in", data=fields, headers=told).status_code == 403


@pytest.mark.parametrize(
    ("then", "leads_to"),
    [
        ("/desk", "/desk"),
        ("https://evil.example/", "/queue"),
        ("//evil.example", "/queue"),
        ("/sign-out", "/queue"),
    ],
)
def test_signing_in_never_leads_to_another_site(clinic: Clinic, then: str, leads_to: str):
    browser = clinic.browser()
    browser.get("/sign-in")

    answer = browser.client.post(
        "/sign-in",
        data={"form_token": browser.token, "login": "head", "password": PASSWORD, "then": then},
    )

    assert answer.headers["location"] == leads_to


def test_sign_ins_and_refusals_are_in_the_audit_chain(clinic: Clinic):
    clinic.browser().sign_in("one", "wrong")
    clinic.browser("one")

    with clinic.parts.database.reading() as tx:
        seen = [(entry.action, entry.outcome) for entry in audit.latest(tx, limit=2)]
        assert list(audit.verify(tx)) == []
    assert seen == [("session.started", "success"), ("session.refused", "refused")]


def test_cookies_are_bound_to_https_where_it_is_served(clinic: Clinic):
    terms = replace(clinic.engine.web, secure_cookies=True)
    server = WebServer(create_app(replace(clinic.engine, web=terms)))
    try:
        answer = httpx.get(f"{server.url}/sign-in")
    finally:
        server.close()

    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


def test_people_are_added_once_and_only_as_they_can_be(clinic: Clinic):
    with clinic.parts.database.transaction() as tx:
        identity.add_user(
            tx, login="New@Site", password="long enough", name="New", roles=[Role.TECHNOLOGIST]
        )
    with clinic.parts.database.transaction() as tx:
        with pytest.raises(LoginTaken):
            identity.add_user(
                tx, login="new@site", password="long enough", name="N", roles=[Role.TECHNOLOGIST]
            )
        for wrong in (
            {"login": "a b", "roles": [Role.TECHNOLOGIST]},
            {"login": "robot", "roles": [Role.DEVICE]},
            {"login": "nobody", "roles": []},
            {"login": "reader", "roles": [Role.CONSULTANT]},
            {"login": "patient2", "roles": [Role.PATIENT]},
            {"login": "short", "roles": [Role.TECHNOLOGIST], "password": "short"},
        ):
            with pytest.raises(LoginInvalid):
                identity.add_user(tx, **{"password": "long enough", "name": "N", **wrong})
        with pytest.raises(ScopeUnknown):
            identity.add_token(tx, "x", ["everything"])
    assert clinic.browser().sign_in("new@site", "long enough").status_code == 303
