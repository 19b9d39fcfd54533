"""Secrets stay in the process, and so does whatever could not be redacted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from steptrail.producers import (
    StepEmitter,
    by_key,
    by_pattern,
    common_secrets,
    hashed,
    secret_keys,
)
from support.redacted import details_of, recorded

SECRETS = [
    ("Authorization: Bearer abcDEF123456", "abcDEF123456"),
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("postgresql://me:hunter2@db/x is away", "hunter2"),
    ("amqp://me:p@ss:w/rd@db", "p@ss:w/rd"),
    ("token eyJhbGciOi.eyJzdWIiOiIx.SflKxwRJSM", "eyJhbGciOi.eyJzdWIiOiIx.SflKxwRJSM"),
    ("key AKIAIOSFODNN7EXAMPLE refused", "AKIAIOSFODNN7EXAMPLE"),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_0123456789"),
    ("xoxb-123456789012-abcdefghijkl", "xoxb-123456789012"),
    ("AIzaSyA-1234567890abcdefghijklmnopqrstuv", "AIzaSyA-1234567890"),
    ("sk-proj-abcdefghijklmnop", "sk-proj-abcdefghijklmnop"),
    ("sk_live_abcdefghijklmnop", "sk_live_abcdefghijklmnop"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEow and no end", "MIIEow"),
    ("login failed: password=hunter2", "hunter2"),
    ('refused {"api_key": "hunter2", "n": 1}', "hunter2"),
    ('nested {\\"password\\": \\"hunter2\\"}', "hunter2"),
    ("no account of alice.b+c@mail.example.com here", "alice.b+c"),
    ("no account of jürgen@example.com here", "jürgen"),
    ("card 4111111111111111 declined", "4111111111111111"),
    ("pass: hunter2", "hunter2"),
    ("DB_PASS=hunter2", "hunter2"),
    ("dbPass=hunter2", "hunter2"),
    ("accessToken=hunter2", "hunter2"),
    ("'refreshToken': 'hunter2'", "hunter2"),
    ("idToken => hunter2", "hunter2"),
    ("privateKey: hunter2", "hunter2"),
    ("session_id=hunter2; x", "hunter2"),
    ("JSESSIONID=hunter2", "hunter2"),
    ("AccountKey=hunter2==;Endpoint=x", "hunter2"),
    ("password_2=hunter2", "hunter2"),
    ("client_secret-prod: hunter2", "hunter2"),
    ('{"name": "DB_PASSWORD", "value": "hunter2"}', "hunter2"),
    ('{\\"name\\": \\"DB_PASSWORD\\", \\"value\\": \\"hunter2\\"}', "hunter2"),
    ("('password', 'hunter2')", "hunter2"),
    ("mysqldump --password hunter2 db", "hunter2"),
    ("mysqldump --password=hunter2 db", "hunter2"),
    ("['mysqldump', '--password', 'hunter2']", "hunter2"),
    ("run -db-password 'two words' x", "two words"),
    ("curl -u me:hunter2 https://h/x failed", "hunter2"),
    ("Command '['curl', '--user', 'me:hunter2', 'https://h']' returned 22", "hunter2"),
    ('curl -sS --fail --proxy-user="me:hunter2" https://h', "hunter2"),
    ("<password>hunter2 and more</password>", "hunter2 and more"),
    ("<ns:clientSecret>hunter2</ns:clientSecret>", "hunter2"),
    ("<db.Token>hunter2</db.Token>", "hunter2"),
    ("CREATE USER u IDENTIFIED BY 'hunter2'", "hunter2"),
    ('ALTER USER u IDENTIFIED BY PASSWORD "hunter2"', "hunter2"),
    ("Cookie: a=1; sid=hunter2", "hunter2"),
    ("Set-Cookie: sid=hunter2; Path=/; HttpOnly", "hunter2"),
    ("{'Cookie': 'a=1; sid=hunter2'}", "hunter2"),
    ('Cookie: a="1"; sid=hunter2', "hunter2"),
    ("Authorization: ApiKey hunter2", "hunter2"),
    ("Authorization: AWS4-HMAC-SHA256 Credential=AKID/x, Signature=hunter2", "hunter2"),
    ("https://b.s3.amazonaws.com/k?X-Amz-Date=2&X-Amz-Signature=hunter2&x=1", "hunter2"),
    ("https://b.s3.amazonaws.com/k?X-Amz-Credential=hunter2%2F2025&x=1", "hunter2"),
    ("https://a.blob.core.windows.net/c?sv=2&sig=hunter2%3D", "hunter2"),
    ("https://storage.googleapis.com/b/o?X-Goog-Signature=hunter2", "hunter2"),
    ("https://h/x?next=https%3A%2F%2Fs3%3FX-Amz-Signature%3Dhunter2", "hunter2"),
    ("https://h/x?token=hunter2&n=1", "hunter2"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----", "lQOYBF"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "b3Blbn"),
    (r'{"password": "hun\"ter2", "n": 1}', "ter2"),
    (r"password='it\'s hunter2' host=x", "hunter2"),
    (r"{\"password\": \"hun\\\"ter2\", \"n\": 1}", "ter2"),
    ('password="two words"', "words"),
    ("password=hun'ter2", "ter2"),
    ("PWD={hun;ter2};UID=x", "ter2"),
    ("password=hun,ter2 x", "ter2"),
    ("postgresql://me:p@ss@hunter2@db/x", "hunter2"),
    ("postgresql://me@corp:hunter2@db/x", "hunter2"),
    ("postgresql://me:hun'ter2@db/x", "ter2"),
    ("card 4111 1111 1111 1111 declined", "4111 1111 1111 1111"),
    ("order 1234 4111-1111-1111-1111 12", "4111-1111-1111-1111"),
    ("2222 4111 1111 1111 1111 123", "4111 1111 1111 1111"),
    ("amex 3782 822463 10005", "3782 822463 10005"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_common_secrets_are_found_wherever_they_stand(text: str, secret: str) -> None:
    """In messages, in values at any depth, and in keys; what stands beside them stays."""
    event = recorded(
        [common_secrets()],
        details={"a": [{"b": text}], text: 1, "kept": "pages"},
        metrics={"m": text},
        error_message=text,
    )
    for field in (event.details, event.metrics, event.error_message or ""):
        assert secret not in field
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in field
    assert details_of(event)["kept"] == "pages"
    marks = details_of(event)["_steptrail"]
    assert marks == {field: {"redacted": 1} for field in ("details", "metrics", "error_message")}


@pytest.mark.parametrize(
    "text",
    [
        "page 12 of 40 took 1760000000000 ms at 2025-03-03 10:15:00.123456",
        "4111111111111112",
        "s3://bucket/path:with/colon",
        "tokens: 512, token_count 3, tasks of disk-usage-monitoring-service",
        "a@b, @decorator, bearer of news",
        "the page identified by 'INV-17' has <passed>12</passed> and <tokens>512</tokens>",
        "python -u run.py, docker run --user 1000:1000 x, sort -u a:b/c, curl is not there",
        "00000000000000000000000000000000",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Times, numbers without a card's check digit, plain URLs and words go as they are, unmarked."""
    event = recorded(
        [common_secrets(), secret_keys()], details={"text": text, "tokens": 512}, error_message=text
    )
    assert details_of(event) == {"text": text, "tokens": 512}
    assert event.error_message == text


def test_keys() -> None:
    """Values of keys that match are hidden whole, at any depth and whatever the case; nothing stays as it is."""
    given = {
        "Password": "x1",
        "inner": [{"db_PASSWORD_2": {"deep": ["x2"]}}, {"pages": 3}],
        "password_hint": None,
        "ssn": 123456789,
    }
    event = recorded([by_key("*password*", "ssn")], details=given)
    assert details_of(event) == {
        "Password": "***",
        "inner": [{"db_PASSWORD_2": "***"}, {"pages": 3}],
        "password_hint": None,
        "ssn": "***",
        "_steptrail": {"details": {"redacted": 1}},
    }


@pytest.mark.parametrize(
    "key",
    [
        "pass",
        "db_pass",
        "dbPass",
        "DB-PASS",
        "accessToken",
        "refreshToken",
        "id-token",
        "idToken",
        "privateKey",
        "PrivateKey",
        "session_id",
        "sessionId",
        "APIKey",
        "apiKey",
        "X-Api-Key",
        "clientSecret",
        "Set-Cookie",
        "X-Amz-Signature",
        "x-amz-security-token",
        "Proxy-Authorization",
        "auth",
        "AWSAccessKeyId",
        "dbPassword",
    ],
)
@pytest.mark.parametrize(
    "shape",
    [
        lambda key: {key: "hunter2"},
        lambda key: {"in": [{key: {"deep": ["hunter2"]}}]},
        lambda key: {"env": [{"name": key, "value": "hunter2"}]},
        lambda key: {"Key": key, "Value": ["hunter2"], "n": 1},
        lambda key: {"headers": [["host", "x"], [key, "hunter2"]]},
        lambda key: {"args": ["run", f"--{key}", "hunter2", "x"]},
    ],
)
def test_secret_keys_in_every_spelling_and_shape(key: str, shape: Any) -> None:
    """Joined by humps, dashes or underscores, as a key, as a name beside its value, as a flag."""
    event = recorded([secret_keys()], details={"kept": 1, **shape(key)})
    assert "hunter2" not in event.details
    assert details_of(event)["kept"] == 1


@pytest.mark.parametrize("key", ["customer_id", "customer-id", "customerId", "CustomerID", "CUSTOMER_ID"])
def test_a_glob_covers_every_spelling(key: str) -> None:
    """Who names a key once need not think of how others join its words."""
    assert details_of(recorded([by_key("customer_id")], details={key: "x1"}))[key] == "***"


@pytest.mark.parametrize(
    "key", ["bypass", "compass", "tokens", "keyboard", "passed", "author", "pages_passed"]
)
def test_keys_that_only_look_like_secrets_stay(key: str) -> None:
    """What is hidden is lost to those who look for the fault."""
    assert details_of(recorded([secret_keys()], details={key: "x1"})) == {key: "x1"}


def test_a_glob_without_a_word_is_looked_at_every_time() -> None:
    """What cannot be looked for beforehand is not overlooked."""
    event = recorded([by_key("?")], details={"a": "x", "bb": "y"})
    assert details_of(event)["a"] == "***"
    assert details_of(event)["bb"] == "y"


def test_numbers_can_be_secrets() -> None:
    """A card's number is one as a number too."""
    event = recorded(
        [common_secrets()], details={"card": 4111111111111111, "as_float": 4111111111111111.0, "n": 12}
    )
    assert "4111111111111111" not in event.details
    assert details_of(event)["n"] == 12


def test_hashed_values_group() -> None:
    """Equal secrets give equal hashes, others others; another salt gives another one; a short salt is refused."""
    one = by_key("user", replace=hashed("salt and pepper"))
    other = by_key("user", replace=hashed(b"x" * 100))
    values = [
        details_of(recorded([r], details={"user": u}))["user"]
        for r, u in ((one, "a"), (one, "a"), (one, "b"), (other, "a"))
    ]
    assert values[0] == values[1]
    assert len({*values}) == 3
    assert all(value.startswith("#") and len(value) == 25 for value in values)
    with pytest.raises(ValueError, match="8 bytes"):
        hashed("short")


def test_own_patterns() -> None:
    """A pattern hides its match, or its group `secret`; with words, what has none of them is not looked at."""
    chain = [by_pattern(r"INV-(?P<secret>\d+)", words=["inv-"]), by_pattern(r"\bx+\b")]
    event = recorded(chain, details={"t": "INV-17 xxx INV-18"}, error_message="INV-19")
    assert details_of(event)["t"] == "INV-*** *** INV-***"
    assert event.error_message == "INV-***"
    with pytest.raises(ValueError, match="printable ASCII"):
        by_pattern("x", words=['"'])


def test_own_callable() -> None:
    """A callable gets each field and what it returns is sent; None leaves the field out."""
    seen = []

    def mine(field: str, value: Any) -> Any:
        seen.append(field)
        if field == "metrics":
            return None
        return {"only": "this"} if field == "details" else value.upper()

    event = recorded([mine], details={"a": 1}, metrics={"b": 2}, error_message="oh")
    assert seen == ["details", "metrics", "error_message"]
    assert details_of(event)["only"] == "this"
    assert (event.metrics, event.error_message) == ("{}", "OH")


def test_half_a_secret_is_not_sent() -> None:
    """Where a text was cut to its limit, the word that it ends in is left out: it may be the half of a secret."""
    token = "eyJ" + "a" * 60_000
    event = recorded([common_secrets()], error_message=f"refused {'x ' * 20_000} {token}.{token}")
    assert "eyJ" not in (event.error_message or "")
    event = recorded([common_secrets()], details={"t": ["y " * 130_000 + f"{token}.{token}"] * 2})
    assert "eyJ" not in event.details


def test_names_from_details_are_redacted_too() -> None:
    """What the details say that a step depends on is a copy of them."""
    event = recorded([common_secrets()], details={"depends_on": ["password=hunter2", "split"]})
    assert "hunter2" not in event.depends_on
    assert json.loads(event.depends_on) == ["password=***", "split"]


def test_arguments() -> None:
    """No chain is no redaction; what cannot be a chain is refused at once."""
    assert StepEmitter(redact=[]).redaction is None
    assert StepEmitter(redact=None).redaction is None
    assert StepEmitter(redact=[secret_keys()]).redaction is not None
    for wrong in ("password", {"a": 1}, 7, ["password"]):
        with pytest.raises(TypeError):
            StepEmitter(redact=wrong)  # type: ignore[arg-type]
