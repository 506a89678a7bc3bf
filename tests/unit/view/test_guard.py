"""Who may use the page of a view: tokens, cookies, hosts, origins."""

from __future__ import annotations

import pytest

from mlink.view.guard import Guard, Role, Tokens, new_tokens

OWNER, GUEST = "o" * 22, "g" * 22


@pytest.fixture
def guard():
    return Guard(Tokens(OWNER, GUEST), 8080, ["127.0.0.1", "::1", "localhost", "Lab-PC"])


def test_tokens_are_new_each_time_and_hold_128_bits():
    found = {token for _ in range(50) for token in new_tokens()}
    assert len(found) == 100
    assert all(len(token) >= 22 for token in found)  # base64 of 16 bytes


@pytest.mark.parametrize(
    ("token", "role"),
    [
        (OWNER, Role.OWNER),
        (GUEST, Role.GUEST),
        ("", None),
        (OWNER[:-1], None),
        (OWNER + "o", None),
        ("ü\udcff", None),
    ],
)
def test_a_token_gives_its_role_alone(guard, token, role):
    assert guard.role_of(token) is role
    assert guard.role_of_cookie(f"a=b; mlink-view-8080={token}" if role else None) is role


@pytest.mark.parametrize("header", ["mlink-view-9090=" + OWNER, "mlink-view-8080", ";;=", "\x00"])
def test_a_cookie_of_another_port_or_none_gives_nothing(guard, header):
    assert guard.role_of_cookie(header) is None


def test_a_cookie_is_for_this_site_and_not_for_scripts(guard):
    cookie = guard.cookie(OWNER)
    assert cookie.startswith(f"mlink-view-8080={OWNER};")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LAB-PC:8080"])
def test_its_own_hosts_are_known(guard, host):
    assert guard.is_host(host)
    assert guard.is_origin(f"http://{host}", needed=True)


@pytest.mark.parametrize(
    "host", [None, "", "127.0.0.1", "127.0.0.1:80", "evil.example:8080", "localhost:8080.evil"]
)
def test_other_hosts_are_refused(guard, host):
    assert not guard.is_host(host)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "https://localhost:8080",
        "http://localhost:8081",
        "file://",
        "http://[",
        "http://localhost:8080@evil.example",
    ],
)
def test_other_origins_are_refused(guard, origin):
    assert not guard.is_origin(origin, needed=False)


def test_without_an_origin_a_page_may_load_and_nothing_else(guard):
    assert guard.is_origin(None, needed=False)
    assert not guard.is_origin(None, needed=True)


def test_with_tls_cookies_and_origins_are_of_tls():
    guard = Guard(Tokens(OWNER, GUEST), 443, ["bench.example"], secure=True)
    assert "; Secure" in guard.cookie(OWNER)
    assert guard.is_origin("https://bench.example", needed=True)
    assert not guard.is_origin("http://bench.example", needed=True)
