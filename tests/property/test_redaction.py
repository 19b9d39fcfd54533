"""Whatever surrounds a secret, and however deep it stands: its bytes are not in the message."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from steptrail.producers import InMemoryStorage, common_secrets, hashed, secret_keys
from steptrail.producers.events.source import EventSource
from steptrail.producers.secrets.patterns import luhn, mail_addresses, passwords_in_addresses
from steptrail.producers.secrets.redactors import marks_search
from steptrail.schemas import ProcessingStatus
from support.effort import effort

LETTERS = st.characters(codec="ascii", categories=["L", "N"])
TOKEN = st.text(LETTERS, min_size=20, max_size=40)
# Plain text around a secret; a letter or digit at its edge would make another word of it.
AROUND = st.text(max_size=20).map(lambda text: f"{text} ") | st.just("")


@st.composite
def cards(draw: st.DrawFn) -> str:
    """A number with a right check digit, in one or in groups."""
    head = draw(st.sampled_from(["4", "51", "37", "6011"]))
    left = 15 - len(head)
    body = head + "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=left, max_size=left)))
    number = next(body + str(digit) for digit in range(10) if luhn(body + str(digit)))
    joint = draw(st.sampled_from(["", " ", "-"]))
    return joint.join(number[at : at + 4] for at in range(0, 16, 4))


# What is recorded, and the part of it that must not leave.
PLANTED = st.one_of(
    TOKEN.map(lambda t: (f"Bearer {t}", t)),
    TOKEN.map(lambda t: (f"https://me:{t}@host/x", t)),
    TOKEN.map(lambda t: (f"password={t}", t)),
    TOKEN.map(lambda t: (f'{{"client_secret": "{t}"}}', t)),
    TOKEN.map(lambda t: (f"AKIA{t.upper()[:16]}", f"AKIA{t.upper()[:16]}")),
    TOKEN.map(lambda t: (f"ghp_{t}", t)),
    TOKEN.map(lambda t: (f"{t}@example.com", t)),
    cards().map(lambda c: (c, c)),
)


def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    other = st.none() | st.floats() | st.text(max_size=5) | st.integers()
    return st.one_of(
        st.tuples(other, inner, other).map(list),
        st.tuples(inner),
        st.tuples(st.text(max_size=5), inner, other).map(lambda t: {t[0]: t[1], f"{t[0]}'": t[2]}),
    )


@pytest.mark.thorough
@settings(max_examples=effort(120, 300), deadline=None, derandomize=True)
@given(st.data(), PLANTED, AROUND, AROUND, st.booleans(), st.booleans())
def test_no_planted_secret_is_in_the_bytes(
    data: st.DataObject, planted: tuple[str, str], before: str, after: str, hash_it: bool, as_key: bool
) -> None:
    """In details, metrics and messages, as values and as keys, removed or hashed."""
    written, secret = planted
    assume(secret not in before + after)
    text = f"{before}{written} {after}"
    replace = {"replace": hashed("salt and pepper")} if hash_it else {}
    tree = data.draw(st.recursive(st.just({text: 1} if as_key else text), nest, max_leaves=4))
    storage = _Messages(redact=[common_secrets(**replace), secret_keys(**replace)])
    storage.emit(
        doc_id="doc",
        step_name="ocr",
        status=ProcessingStatus.ERROR,
        details={"in": tree},
        metrics={"in": tree},
        error_message=text,
    )
    [value] = storage.messages
    assert secret.encode() not in value
    assert json.dumps(secret)[1:-1].encode() not in value


SECRET = st.tuples(TOKEN, st.sampled_from(["", '"', "'", "@", ",", ";", "\\", " ", "&"])).map(
    lambda t: f"{t[0][:10]}{t[1]}{t[0][10:]}"  # a value may hold what delimits others
)
NAMES = st.sampled_from(
    [
        *(
            "password",
            "DB_PASSWORD",
            "pass",
            "db_pass",
            "accessToken",
            "refreshToken",
            "idToken",
            "privateKey",
        ),
        *("session_id", "X-Api-Key", "client-secret", "passphrase", "AccountKey"),
    ]
)


def python(text: str) -> str:
    return repr(text)


def as_json(text: str) -> str:
    return json.dumps(text)


def in_json(text: str) -> str:
    return json.dumps(json.dumps(text))[1:-1]


SHAPES = st.one_of(
    st.tuples(NAMES, SECRET, st.sampled_from([python, as_json])).map(
        lambda t: (f"{t[0]}={t[2](t[1])} x", t[1])
    ),
    st.tuples(NAMES, SECRET, st.sampled_from([python, as_json])).map(
        lambda t: (f"{{{t[2](t[0])}: {t[2](t[1])}, 1: 2}}", t[1])
    ),
    st.tuples(NAMES, SECRET).map(lambda t: (f"{{{in_json(t[0])}: {in_json(t[1])}}}", t[1])),
    st.tuples(NAMES, SECRET).map(lambda t: (json.dumps([{"name": t[0], "value": t[1]}]), t[1])),
    st.tuples(NAMES, SECRET).map(lambda t: (f"({t[0]!r}, {t[1]!r})", t[1])),
    st.tuples(NAMES, SECRET).map(lambda t: (f"run --{t[0]} {as_json(t[1])} x", t[1])),
    st.tuples(NAMES, SECRET).map(lambda t: (repr(["run", f"--{t[0]}", t[1]]), t[1])),
    SECRET.map(lambda s: (f"Cookie: a=1; sid={s}", s)),
    SECRET.map(lambda s: (f"Set-Cookie: sid={s}; Path=/", s)),
    TOKEN.map(lambda s: (f"https://h/k?a=1&X-Amz-Signature={s}&b=2", s)),
    TOKEN.map(lambda s: (f"https://h/k?sig={s}", s)),
    SECRET.filter(lambda s: " " not in s and '"' not in s).map(lambda s: (f"postgresql://me:{s}@db/x y", s)),
    TOKEN.map(
        lambda s: (f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{s}\n-----END PGP PRIVATE KEY BLOCK-----", s)
    ),
)


@pytest.mark.thorough
@settings(max_examples=effort(240, 600), deadline=None, derandomize=True)
@given(SHAPES, AROUND, AROUND)
def test_no_half_of_a_secret_is_in_the_bytes(planted: tuple[str, str], before: str, after: str) -> None:
    """Whatever writes the pair, and whatever delimiter the secret holds: neither end of it is sent."""
    written, secret = planted
    halves = [secret[:10], secret[11:] if len(secret) > 20 and not secret[10].isalnum() else secret[10:]]
    assume(not any(half in before + after for half in halves))
    text = f"{before}{written} {after}"
    storage = _Messages(redact=[common_secrets()])
    storage.emit("doc", "ocr", ProcessingStatus.ERROR, details={"in": [text]}, error_message=text)
    [value] = storage.messages
    assert not [half for half in halves if half.encode() in value]


@pytest.mark.thorough
@settings(max_examples=effort(40, 100), deadline=None, derandomize=True)
@given(st.data(), TOKEN, st.sampled_from(["password", "X-API_KEY", "db_Secret", "Authorization"]))
def test_no_value_of_a_secret_key_is_in_the_bytes(data: st.DataObject, secret: str, key: str) -> None:
    """Whatever the value is made of, nothing of it is sent."""
    value = data.draw(st.recursive(st.just(secret), nest, max_leaves=3))
    tree = data.draw(st.recursive(st.just({key: value}), nest, max_leaves=3))
    storage = _Messages(redact=[secret_keys()])
    storage.emit(doc_id="doc", step_name="ocr", status=ProcessingStatus.SUCCESS, details={"in": tree})
    assert secret.encode() not in storage.messages[0]


class _Messages(InMemoryStorage):
    """Keeps the bytes as they would be sent."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.messages: list[bytes] = []
        assert isinstance(self, EventSource)
        keep = self._line.produce

        def produce(topic: str, value: bytes, *rest: Any) -> None:
            self.messages.append(value)
            keep(topic, value, *rest)

        self._line.produce = produce


ADDRESS = re.compile(r"(?<![\w.%+-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)+")
END_OF_WORD = re.compile(r"\s|\\*[\"'](?:[,:;}\])\s]|\Z)")


@pytest.mark.thorough
@settings(max_examples=effort(200, 500), deadline=None, derandomize=True)
@given(st.text("ab@.-+ é²_%/\n", max_size=16))
def test_addresses_are_found_where_one_pattern_finds_them(text: str) -> None:
    """The search from each @ backwards is only quicker."""
    assert list(mail_addresses(text)) == [match.span() for match in ADDRESS.finditer(text)]


@pytest.mark.thorough
@settings(max_examples=effort(200, 500), deadline=None, derandomize=True)
@given(st.text("a\\\"' ,:;}]\n@", max_size=12))
def test_a_password_in_an_address_ends_where_its_word_does(text: str) -> None:
    """At whitespace, or at a quote, however escaped, that ends a text."""
    assert list(passwords_in_addresses(f"s://u:{text}@")) == _password_in(text)


def _password_in(text: str) -> list[tuple[int, int]]:
    found = END_OF_WORD.search(f"s://u:{text}@", 1)
    word = f"s://u:{text}@"[: found.start() if found else None]
    last = word.rfind("@", 1)
    return [(6, last)] if last > 6 else []


@pytest.mark.thorough
@settings(max_examples=effort(200, 500), deadline=None, derandomize=True)
@given(
    st.sets(st.text("abk_=-", min_size=1, max_size=4), min_size=1, max_size=8),
    st.text("abk_=- ", max_size=12),
)
def test_one_search_finds_any_of_many_words(words: set[str], text: str) -> None:
    """Words that share letters, begin alike or hold each other."""
    found = marks_search(words, ())(text.encode())
    assert (found is not None) == any(word in text for word in words)
