"""Who is let in, and from where changes may come."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from steptrail.consumers.web.access.access import Access, Refusal, given_token, host_name, is_loopback
from steptrail.consumers.web.access.tokens import Principal, TokenFile, new_token, read_tokens
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError


def settings(**values: Any) -> Settings:
    return Settings(kafka="127.0.0.1:1", clickhouse="http://127.0.0.1:1/x", **values)


def identify(access: Access, peer: str | None = "127.0.0.1", **headers: str) -> Principal | Refusal:
    named = {"host": "localhost:8321", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return access.identify(named, peer)


def test_on_loopback_a_local_user_needs_nothing() -> None:
    """Whoever has a login on the machine may operate."""
    found = identify(Access(settings()))
    assert isinstance(found, Principal)
    assert found.may_operate
    assert found.pipelines is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8321",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.7:8321",
        "",
        "[::2]:8321",
        "localhost@evil.example",
    ],
)
def test_a_foreign_host_name_is_refused_on_loopback(host: str) -> None:
    """A name that was made to resolve to loopback (DNS rebinding) opens nothing."""
    found = identify(Access(settings()), host=host)
    assert isinstance(found, Refusal)
    assert found.status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8321", "127.0.0.1:9", "[::1]:8321", "[::1]"])
def test_names_of_loopback_are_taken(host: str) -> None:
    """With any port, in any case."""
    assert isinstance(identify(Access(settings()), host=host), Principal)


def test_a_name_that_is_configured_is_taken() -> None:
    """STEPTRAIL_WEB_NAMES adds names."""
    access = Access(settings(web_names="steps.internal, other.internal"))
    assert isinstance(identify(access, host="steps.internal:8321"), Principal)
    assert isinstance(identify(access, host="third.internal"), Refusal)


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "via", "x_real_ip", "x_forwarded_host"])
def test_a_proxy_does_not_make_everybody_a_local_user(header: str) -> None:
    """What came through a proxy that nobody configured is refused."""
    found = identify(Access(settings()), **{header: "1.2.3.4"})
    assert isinstance(found, Refusal)
    assert "STEPTRAIL_WEB_PROXY_HEADER" in found.detail


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "steps.example.com"])
def test_beyond_loopback_it_refuses_to_start_without_tokens_or_a_proxy(host: str) -> None:
    """There is no default password."""
    with pytest.raises(ConfigurationError, match="STEPTRAIL_WEB_TOKENS"):
        Access(settings(web_host=host))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.1", False), ("example.com", False)],
)  # fmt: skip
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    """Addresses that no other machine reaches."""
    assert is_loopback(host) is loopback


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def test_a_token_is_known_by_its_hash_alone(tokens: Path) -> None:
    """The file holds no token; who has it is let in, by Bearer and by Basic."""
    token = new_token(tokens, "grafana", "read", ["invoices"])
    assert token not in tokens.read_text()
    assert tokens.stat().st_mode & 0o777 == 0o600
    access = Access(settings(web_host="0.0.0.0", web_tokens=str(tokens)))
    expected = Principal("grafana", "read", ("invoices",))
    assert identify(access, "9.9.9.9", authorization=f"Bearer {token}") == expected
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    assert identify(access, "9.9.9.9", authorization=f"Basic {basic}") == expected


@pytest.mark.parametrize(
    "wrong", ["", "Bearer", "Bearer x", "Basic !!!", "Basic eDp5", "Digest a", "Bearer steptrail_"]
)
def test_without_a_known_token_nobody_is_let_in(tokens: Path, wrong: str) -> None:
    """On loopback neither, once there are tokens."""
    new_token(tokens, "a", "operate")
    for host in ("0.0.0.0", "127.0.0.1"):
        found = identify(Access(settings(web_host=host, web_tokens=str(tokens))), authorization=wrong)
        assert isinstance(found, Refusal)
        assert found.status == 401


def test_tokens_that_are_added_and_removed_count_at_once(tokens: Path) -> None:
    """The file is read again when it changes; one that is gone or wrong lets nobody in."""
    first = new_token(tokens, "a", "read")
    known = TokenFile(tokens)
    second = new_token(tokens, "b", "operate")
    assert known.principal_of(second) == Principal("b", "operate")
    assert known.principal_of(first) == Principal("a", "read")
    tokens.write_text("[token.a")
    assert known.principal_of(first) is None
    tokens.unlink()
    assert known.principal_of(second) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least one"),
        ("[token.a", "TOML"),
        ("x = 1", "at least one"),
        ("[token.a]\nrole = 'read'", "sha256"),
        ("[token.a]\nsha256 = 'zz'\nrole = 'read'", "sha256"),
        (f"[token.a]\nsha256 = '{'0' * 64}'\nrole = 'admin'", "role"),
        (f"[token.a]\nsha256 = '{'0' * 64}'\nrole = 'read'\npipelines = []", "pipelines"),
        (f"[token.a]\nsha256 = '{'0' * 64}'\nrole = 'read'\ntoken = 'x'", "nothing else"),
    ],
)
def test_a_wrong_tokens_file_is_refused_with_what_is_wrong(tokens: Path, text: str, said: str) -> None:
    """At the start."""
    tokens.write_text(text)
    tokens.chmod(0o600)
    with pytest.raises(ConfigurationError, match=said):
        read_tokens(tokens)


def test_a_tokens_file_that_others_may_write_to_is_refused(tokens: Path) -> None:
    """Who writes it decides who is let in."""
    new_token(tokens, "a", "read")
    tokens.chmod(0o666)
    with pytest.raises(ConfigurationError, match="others may write"):
        read_tokens(tokens)


def test_a_name_is_given_to_one_token_only(tokens: Path) -> None:
    """Changes are recorded under it."""
    new_token(tokens, "a", "read")
    with pytest.raises(ConfigurationError, match="already"):
        new_token(tokens, "a", "operate")
    with pytest.raises(ConfigurationError, match="name"):
        new_token(tokens, 'b"]', "operate")


def test_a_pipeline_of_any_name_can_be_named_in_the_file(tokens: Path) -> None:
    """Quotes and control characters are escaped."""
    odd = 'in"voi\\ces\n\x7f'
    new_token(tokens, "a", "read", [odd])
    assert read_tokens(tokens)[0][1].pipelines == (odd,)


def test_the_header_of_a_trusted_proxy_is_believed_from_its_address_alone() -> None:
    """Others can send any header."""
    access = Access(
        settings(
            web_host="0.0.0.0",
            web_proxy_header="X-Forwarded-User",
            web_proxy_addresses="10.0.0.0/8",
            web_proxy_role="operate",
        )
    )
    assert identify(access, "10.1.1.1", x_forwarded_user="ann") == Principal("ann", "operate")
    for peer in ("11.0.0.1", "127.0.0.1", None, "::1"):
        found = identify(access, peer, x_forwarded_user="ann")
        assert isinstance(found, Refusal)
        assert found.status == 401
    assert isinstance(identify(access, "10.1.1.1"), Refusal)
    assert isinstance(identify(access, "10.1.1.1", x_forwarded_user=" "), Refusal)


def test_behind_a_proxy_on_loopback_nobody_is_a_local_user() -> None:
    """Every request comes from 127.0.0.1 there: without the header it is nobody's."""
    access = Access(settings(web_proxy_header="X-User"))
    assert isinstance(identify(access, "127.0.0.1"), Refusal)
    assert identify(access, "127.0.0.1", host="steps.example.com", x_user="ann") == Principal("ann", "read")


def test_networks_of_proxies_that_are_none_are_refused() -> None:
    """At the start."""
    with pytest.raises(ConfigurationError, match="STEPTRAIL_WEB_PROXY_ADDRESSES"):
        Access(settings(web_proxy_header="X-User", web_proxy_addresses="10.0.0.0/99"))


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({}, True),
        ({"origin": "http://localhost:8321"}, True),
        ({"origin": "https://localhost:8321"}, True),
        ({"origin": "http://localhost:8321", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "file://localhost:8321"}, False),
        ({"origin": "http://localhost:8321.evil.example"}, False),
        ({"origin": "http://localhost:8321", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_changes_are_taken_from_pages_of_this_server_or_from_no_page(
    headers: dict[str, str], same: bool
) -> None:
    """By Origin and Sec-Fetch-Site."""
    assert Access(settings()).same_site({"host": "localhost:8321", **headers}) is same


def test_tokens_and_hosts_are_read_out_of_their_headers() -> None:
    """As browsers and tools write them."""
    assert given_token("bearer  abc ") == "abc"
    assert given_token("Basic " + base64.b64encode(b"u:p:q").decode()) == "p:q"
    assert given_token("Basic " + base64.b64encode(b"\xff\xfe").decode()) is None
    assert host_name("Example.COM:80") == "example.com"
    assert host_name("[::1]:80") == "[::1]"
