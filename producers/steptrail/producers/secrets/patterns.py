"""Patterns for common secrets in messages and results: tokens, passwords, keys, addresses, card numbers.

Each takes time linear in the text. They prefer false positives: whatever looks like a token is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from steptrail.producers.secrets.redactors import (
    ByFinding,
    ByKey,
    Find,
    Recognizable,
    Replace,
    Span,
    finder,
    removed,
)

SECRET_KEYS: Final = (
    *("*passw*", "*passphrase*", "pass", "*_pass", "dbpass", "userpass", "pwd", "*_pwd", "*secret*"),
    *("*token", "*apikey*", "*api_key*", "*access_key*", "*account_key", "*private_key*", "*privatekey*"),
    *("*session_id", "*sessionid", "auth", "authorization", "*_authorization", "cookie", "set_cookie"),
    *("x_amz_signature", "x_goog_signature", "*credential*", "ssn", "iban", "cvv", "cvc"),
)
"""Names of keys whose values are secrets nearly everywhere; `_` is also `-`, and a hump."""

_KEY_WORDS: Final = (
    *(
        "passw",
        "passphrase",
        'pass"',
        'pwd"',
        "secret",
        'token"',
        'auth"',
        "credential",
        'ssn"',
        'iban"',
        'cvv"',
        'cvc"',
    ),
    *("authorization", "cookie", "x-amz-", "x_amz_", "xamz", "x-goog-", "x_goog_", "xgoog"),
    *(
        f"{name}{joint}{rest}"
        for name, rest in (
            ("api", "key"),
            ("access", "key"),
            ("account", "key"),
            ("private", "key"),
            ("session", "id"),
        )
        for joint in ("", "_", "-")
    ),
)
"""What each of these has in it, in lower case, however its words are joined."""

_NAMED = (
    r"(?:(?:passw(?:or)?d|passphrase|pwd|secret)(?:[_-][\w-]{0,24}|[0-9]{0,4})"
    r"|(?<![a-z])pass|(?-i:(?<=[a-z])Pass)|token|api[_-]?key|sess(?:ion)?[_-]?id"
    r"|(?:access|account|private|secret)[_-]?key)"
)
_NAMES = (
    *("passw", "passphrase", "pwd", "secret", "session_id", "session-id", "sessionid", "sessid", "sess_id"),
    *(f"{kind}{joint}key" for kind in ("api", "access", "account", "private") for joint in ("", "_", "-")),
    *("token", "pass"),
)
# "tokens" are mostly counted, and much is passed: only these are looked for in whole messages.
_ENDED: Final = (rb"ken(?<=token)[\s\"',:=\\>]", rb"ss(?<=pass)[\s\"',:=\\>]")
# The separator between a name and its value, and the value. A quote in it is escaped: by one backslash more than the
# quotes around it, where the whole is inside a quoted text. Nothing is required after a value, so that no part is
# searched twice.
_JOINT = r"\\*[\"']?\s*(?:=>|[:=])\s*"
_PAIR = r"\\*[\"']\s*,\s*(?:\\*[\"']value\\*[\"']\s*:\s*)?(?=\\*[\"'])"
_QUOTED = (
    r"(?P<esc>\\+)\"(?P<secret1>[^\"\\]*(?:(?!(?P=esc)\")\\+\"?[^\"\\]*)*)"
    r"|(?P<esc2>\\+)'(?P<secret2>[^'\\]*(?:(?!(?P=esc2)')\\+'?[^'\\]*)*)"
    r"|\"(?P<secret3>[^\"\\]*(?:\\(?s:.)[^\"\\]*)*)"
    r"|'(?P<secret4>[^'\\]*(?:\\(?s:.)[^'\\]*)*)"
)
# Continues after a quote within a word, and after a comma unless the next `name=` follows.
_BARE = (
    r"(?P<secret5>(?:[^\s,;&\"'\\]|\\.)[^\s,;&\"'\\]*"
    r"(?:(?:\\.|[\"'](?=\w)|[,;&](?![\"']?[\w.-]{1,40}[\"']?\s?[=:])(?=[^\s,;&\"']))[^\s,;&\"'\\]*)*)"
)
_PATTERNS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        rf"(?ia)(?<![a-z])(?:authorization|cookie2?)\b(?:{_JOINT}|{_PAIR})(?:{_QUOTED}|(?P<secret5>[^\r\n]+))",
        ("authorization", "cookie"),
    ),
    (r"(?ia)\bbearer\s+(?P<secret>[a-z0-9._~+/=-]{8,})", ("bearer",)),
    # Only at the start of a run of such letters, and only if a dot ends it: each letter is searched at most twice.
    (
        r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{5})[A-Za-z0-9_-]*?"
        r"(?P<secret>\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*)",
        ("eyj",),
    ),
    (r"(?:AKIA|ASIA)[A-Z0-9]{16}", ("akia", "asia")),
    (
        r"(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    (r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", ("xox",)),
    (r"AIza[A-Za-z0-9_-]{35}", ("aiza",)),
    (r"\b[sr]k[-_][A-Za-z0-9_-]{16,}", ("sk-", "sk_", "rk-", "rk_")),
    (
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?s:.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        ("private key",),
    ),
    (
        r"(?ia)(?:x-(?:amz|goog)-(?:signature|credential|security-token)|(?<![a-z])(?:sig|signature|awsaccesskeyid))"
        r"(?:=|%3d)(?P<secret>[^\s&\"'#<>\\]+)",
        ("x-amz-", "x-goog-", "sig=", "sig%3d", "signature=", "signature%3d", "awsaccesskeyid"),
    ),
    # In capitals, as SQL: other things are identified by a name.
    (rf"(?a)\bIDENTIFIED\s+BY\s+(?:PASSWORD\s+)?(?:{_QUOTED})", ("identified",)),
    (
        r"(?ia)\bcurl\b[^\r\n]{0,80}?(?<![\w-])(?:-u|--(?:proxy-)?user)\\*[\"']?(?:\s*,\s*|\s+|=)\\*[\"']?"
        r"[^\s:/\"'\\]{1,64}:(?P<secret>[^\s\"'\\]+)",
        ("curl",),
    ),
    (rf"(?ia)<[\w:.-]{{0,24}}{_NAMED}>(?P<secret>[^<]+)", _NAMES),
    (rf"(?ia){_NAMED}(?:{_JOINT}|{_PAIR})(?:{_QUOTED}|{_BARE})", _NAMES),
    (rf"(?ia)(?<![\w-])--?[\w-]{{0,24}}{_NAMED}\\*[\"']?(?:\s*,)?\s+(?!--)(?:{_QUOTED}|{_BARE})", _NAMES),
)
_WEIGHTS: Final = {_NAMES[0]: 6, "authorization": 4, "curl": 20}  # by the first word
_DOMAIN: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+")
# Whitespace, or an escaped or plain quote that ends a text. Its first letter alone makes the search skip to it.
_END_OF_ADDRESS: Final = re.compile(r"[\s\\\"'](?:(?<=\s)|(?:(?<=\\)\\*[\"']|(?<=[\"']))(?:[,:;}\])\s]|\Z))")

# Card numbers as people write them: unbroken or in groups.
_CARD: Final = re.compile(
    # What is before the first digit is looked at after it: so the search skips to digits.
    r"[2-6](?<![0-9][2-6])(?:[0-9]{12,18}|[0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5})(?![0-9])"
)
_CARD_COST: Final = 256
_DOUBLED: Final = {str(digit): 2 * digit - 9 if digit > 4 else 2 * digit for digit in range(10)}
_CARD_SHAPES: Final = tuple(
    b"%d[0-9]{3}(?:[0-9]{9}|[ -][0-9]{4}[ -][0-9]{4}[ -]|[ -][0-9]{6}[ -])" % first for first in range(2, 7)
)


def secret_keys(*, replace: Replace = removed) -> Recognizable:
    """A redactor for keys whose names suggest secrets (`SECRET_KEYS`)."""
    return ByKey(SECRET_KEYS, replace, _KEY_WORDS)


def common_secrets(*, replace: Replace = removed) -> Recognizable:
    """A redactor for what looks like a secret in any text: bearer tokens, JSON web tokens, passwords in URLs and in
    `password=…`, keys of AWS, GitHub, Slack, Google, Stripe and OpenAI, private keys, e-mail addresses, and card
    numbers whose check digit is right; headers with credentials, signed addresses, arguments like `--password x`.
    """
    finds: list[tuple[Find, tuple[str, ...]]] = [
        (passwords_in_addresses, ("@",)),
        *((finder(re.compile(pattern), _WEIGHTS.get(words[0], 1)), words) for pattern, words in _PATTERNS),
    ]
    finds.append((mail_addresses, ("@",)))
    words = {word for _, words in finds for word in words} - {"token", "pass"}
    return ByFinding([*finds, (card_numbers, ())], replace, words=words, shapes=(*_ENDED, *_CARD_SHAPES))


def passwords_in_addresses(text: str) -> Iterable[Span]:
    """Spans of `user:password@` after `://`: up to the word's last @, since passwords may contain one."""
    at = 0
    while (start := text.find("://", at)) >= 0:
        found = _END_OF_ADDRESS.search(text, start)
        at = found.start() if found is not None else len(text)
        last = text.rfind("@", start, at)
        colon = text.find(":", start + 3, last) if last > 0 else -1
        if 0 < colon < last - 1:
            yield colon + 1, last
        at = max(at, start + 3)


def mail_addresses(text: str) -> Iterable[Span]:
    """Spans of e-mail addresses: the longest run of an address's characters before each @ that a domain follows."""
    end = 0  # of the last one
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None:
            start = at
            while start > end and _is_of_address(text[start - 1]):
                start -= 1
            if start < at and not (start and _is_of_address(text[start - 1])):
                yield start, domain.end()
                end = domain.end()
        at = text.find("@", at + 1)


def _is_of_address(letter: str) -> bool:
    return letter.isalnum() or letter in "_.%+-"


def card_numbers(text: str) -> Iterable[Span]:
    """Spans of card numbers with a valid check digit (Luhn)."""
    at = 0
    while (match := _CARD.search(text, at)) is not None:
        start, end = match.span()
        ends = [end]
        if match.group(1) is not None and end - start > 19:
            ends.append(start + 19)  # four groups of four, followed by another number
        for end in ends:
            if luhn(text[start:end]):
                yield start, end
                at = end
                break
        else:
            at = start + 1  # a card may begin with a later group


def _card_work(text: str) -> int:
    found = _CARD.findall(text)
    return len(text) + _CARD_COST * len(found) if found else 0


card_numbers.work = _card_work  # type: ignore[attr-defined]


def luhn(number: str) -> bool:
    """Whether the check digit is valid; ignores non-digits."""
    digits = number.replace(" ", "").replace("-", "")[::-1]
    return (sum(map(int, digits[::2])) + sum(map(_DOUBLED.__getitem__, digits[1::2]))) % 10 == 0
