from __future__ import annotations

import pytest

from steptrail.schemas.wire.headers import RESENT, header_list, is_of_dead_letters, times_resent


@pytest.mark.parametrize(
    ("headers", "times"),
    [
        (None, 0),
        ([], 0),
        ([("other", b"3")], 0),
        ([(RESENT, b"1")], 1),
        ([("other", b"x"), (RESENT, b"2"), (RESENT, b"1")], 2),
        ({RESENT: "4"}, 4),
        ([(RESENT, b"0")], 1),
        ([(RESENT, None)], 1),
        ([(RESENT, b"-7")], 1),
        ([(RESENT, b"many")], 1),
        ([(RESENT, "٣".encode())], 1),
        ([(RESENT, b"9" * 400)], 1),
    ],
)
def test_a_record_says_how_often_it_was_sent_again(headers: object, times: int) -> None:
    """By the header's number; whatever else it holds means once."""
    assert times_resent(headers) == times


def test_headers_come_as_pairs_of_bytes() -> None:
    """However the client gives them."""
    assert header_list(None) == []
    assert header_list([("a", b"1"), ("a", None)]) == [("a", b"1"), ("a", None)]
    assert header_list({"a": "ü"}) == [("a", "ü".encode())]


def test_headers_of_dead_letters_are_told_from_the_messages_own() -> None:
    """What is taken off when a letter is sent again."""
    assert is_of_dead_letters("steptrail.reason")
    assert is_of_dead_letters("__connect.errors.topic")
    assert not is_of_dead_letters("traceparent")
    assert not is_of_dead_letters(RESENT)
