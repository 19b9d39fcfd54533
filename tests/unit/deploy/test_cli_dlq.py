from __future__ import annotations

import pytest

from steptrail.deploy.cli.commands.dlq.options import author, parse_place, selection_of
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.projections.stores.dead_letter_store import STATES, Selection


def selected(**given: object) -> Selection:
    options: dict[str, object] = dict.fromkeys(
        ("places", "reasons", "pipelines", "since", "until", "partition", "offsets", "states")
    )
    return selection_of(**{**options, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offsets", "first", "last"),
    [
        (None, None, None),
        ("17", 17, 17),
        ("10-20", 10, 20),
        ("10-", 10, None),
        ("-20", None, 20),
        ("0", 0, 0),
    ],
)
def test_offsets_are_one_or_a_range(offsets: str | None, first: int | None, last: int | None) -> None:
    """Inclusive, with open ends."""
    found = selected(offsets=offsets)
    assert (found.first_offset, found.last_offset) == (first, last)


@pytest.mark.parametrize(
    "given",
    [
        {"offsets": "-"},
        {"offsets": "a-b"},
        {"offsets": "1-2-3"},
        {"offsets": ""},
        {"places": ["3"]},
        {"places": ["3:"]},
        {"places": ["-1:4"]},
        {"states": ["closed"]},
        {"since": "soon"},
    ],
)
def test_what_cannot_be_read_is_a_mistake_of_the_command(given: dict[str, object]) -> None:
    """Exit code 2, before anything is asked."""
    with pytest.raises(CommandError) as caught:
        selected(**given)
    assert caught.value.exit_code == USAGE


def test_open_letters_are_meant_unless_told() -> None:
    """States in any case; `all` for every one."""
    assert selected() == Selection()
    assert selected().is_everything
    assert selected(states=["Dropped", "redriven"]).states == ("DROPPED", "REDRIVEN")
    assert selected(states=["all"]).states == STATES
    assert selected(states=["all"]).is_everything
    assert not selected(reasons=["bad_json"]).is_everything
    assert selected(reasons=["bad_json"]).reasons == ("BAD_JSON",)


def test_conditions_are_bound_not_written() -> None:
    """What a user types never becomes SQL."""
    condition, parameters = selected(
        reasons=["x' OR 1"],
        pipelines=["p'"],
        places=["3:17"],
        partition=2,
        offsets="1-9",
        since="1h",
        until="now",
    ).condition()
    assert "OR 1" not in condition
    assert "p'" not in condition
    assert "(3, 17)" in condition
    assert parameters["reasons"] == ["X' OR 1"]
    assert parameters["pipelines"] == ["p'"]
    assert (parameters["partition"], parameters["first"], parameters["last"]) == (2, 1, 9)
    assert parameters["since"] < parameters["until"]


def test_offset_zero_is_an_offset() -> None:
    """Not the absence of one."""
    condition, parameters = selected(partition=0, offsets="0").condition()
    assert (parameters["partition"], parameters["first"], parameters["last"]) == (0, 0, 0)
    assert "source_partition" in condition


def test_places() -> None:
    """Partition and offset."""
    assert parse_place("3:1734") == (3, 1734)


def test_every_run_has_its_own_name() -> None:
    """And says who it was."""
    one, other = author("why"), author()
    assert one.run != other.run
    assert "@" in one.decided_by
    assert one.note == "why"
