"""Patterns for secrets that turn up in messages and results: tokens, passwords, keys, addresses, card numbers.

Each takes time linear in the text. They prefer to hide too much: what looks like a token to them is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from steptrail.producers.redactors import (
    ByFinding,
    Find,
    Recognizable,
    Replace,
    Span,
    by_key,
    finder,
    removed,
)

SECRET_KEYS: Final = (
    *("*passw*", "*passphrase*", "pwd", "*_pwd", "*secret*", "token", "*_token", "*-token", "*apikey*"),
    *("*api_key*", "*api-key*", "*access_key*", "*private_key*", "authorization", "cookie", "set-cookie"),
    *("*credential*", "ssn", "iban", "cvv", "cvc"),
)
"""Names of keys whose values are secrets nearly everywhere."""

_NAMED = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|(?:access|private|secret)[_-]?key)"
_NAMES = (
    *("passw", "passphrase", "pwd", "secret", "api_key", "api-key", "apikey", "access_key", "access-key"),
    *("accesskey", "private_key", "private-key", "privatekey"),
    *(f"token{end}" for end in " \t\n\r\v\f\"'\\:="),  # "tokens" are mostly counted
)
_PATTERNS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (r"(?ia)\bbearer\s+(?P<secret>[a-z0-9._~+/=-]{8,})", ("bearer",)),
    (
        r"(?ia)\bauthorization\\*[\"']?\s*[:=]\s*\\*[\"']?(?:basic|digest|token)\s+(?P<secret>[^\s\"']+)",
        ("authorization",),
    ),
    # Up to the last @ of the word: passwords may hold one. The bound keeps it linear.
    (r"://[^\s/:@\"']*:(?P<secret>[^\s\"']{1,256})@", ("@",)),
    (r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*", ("eyj",)),
    (r"(?:AKIA|ASIA)[A-Z0-9]{16}", ("akia", "asia")),
    (
        r"(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    (r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", ("xox",)),
    (r"AIza[A-Za-z0-9_-]{35}", ("aiza",)),
    (r"\b[sr]k[-_][A-Za-z0-9_-]{16,}", ("sk-", "sk_", "rk-", "rk_")),
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", ("private key",)),
    (
        rf"(?ia){_NAMED}\\*[\"']?\s*[:=]\s*"
        r"(?:\\*\"(?P<secret>[^\"]+)|\\*'(?P<secret2>[^']+)|(?P<secret3>[^\s,;&\"']+))",
        _NAMES,
    ),
    (r"(?<![\w.%+-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)+", ("@",)),
)

# Numbers of cards as they are written: in one, or in groups.
_CARD: Final = re.compile(
    r"(?<![0-9])[2-6](?:[0-9]{12,18}|[0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5})(?![0-9])"
)
_CARD_SHAPES: Final = tuple(
    b"%d[0-9]{3}(?:[0-9]{9}|[ -][0-9]{4}[ -][0-9]{4}[ -]|[ -][0-9]{6}[ -])" % first for first in range(2, 7)
)


def secret_keys(*, replace: Replace = removed) -> Recognizable:
    """A redactor for keys that are named like secrets (`SECRET_KEYS`)."""
    return by_key(*SECRET_KEYS, replace=replace)


def common_secrets(*, replace: Replace = removed) -> Recognizable:
    """A redactor for what looks like a secret in any text: bearer tokens, JSON web tokens, passwords in URLs and in
    `password=…`, keys of AWS, GitHub, Slack, Google, Stripe and OpenAI, private keys, e-mail addresses, and card
    numbers whose check digit is right.
    """
    finds: list[tuple[Find, tuple[str, ...]]] = [
        (finder(re.compile(pattern)), words) for pattern, words in _PATTERNS
    ]
    return ByFinding([*finds, (card_numbers, ())], replace, all_marked=True, shapes=_CARD_SHAPES)


def card_numbers(text: str) -> Iterable[Span]:
    """Where card numbers stand whose check digit (Luhn) is right."""
    at = 0
    while (match := _CARD.search(text, at)) is not None:
        start, end = match.span()
        ends = [end]
        if match.group(1) is not None and end - start > 19:
            ends.append(start + 19)  # four groups of four, and another number behind them
        for end in ends:
            if luhn(text[start:end]):
                yield start, end
                at = end
                break
        else:
            at = start + 1  # a card may begin with a later group


def luhn(number: str) -> bool:
    """Whether the check digit is right; what is no digit does not count."""
    digits = [int(c) for c in reversed(number) if c.isdigit()]
    doubled = (2 * digit - 9 if digit > 4 else 2 * digit for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
