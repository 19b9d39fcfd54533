"""Configuration files: TOML checked against a pydantic model; reports every mistake at once, by line and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from steptrail.schemas.configuration.toml_lines import Keys, NotToml, read_toml
from steptrail.schemas.configuration.toml_values import shown, which_of
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.near_names import or_near

Found = Mapping[str, Any]
"""A table as TOML has it, before anything of it is checked."""

Clashes = Iterator[tuple[str | Keys, str]]
"""The keys to blame, or () for the table itself, and what is wrong between them."""


@dataclass(frozen=True)
class Mistake:
    """What is wrong with one key; `line` counts from 1, None if unknown."""

    line: int | None
    key: str
    what: str

    def at(self, source: str) -> str:
        """The mistake prefixed with its position in `source`."""
        places = [source, *([f"line {self.line}"] if self.line else []), *([self.key] if self.key else [])]
        colon = ":" if len(places) > 1 else ""
        return f"{', '.join(places)}{colon} {self.what}"


class TomlFileError(ConfigurationError):
    """A configuration file is invalid; the message names every line and key. None of it takes effect."""

    consequence: ClassVar[str] = ""
    """The last line of the message: what holds instead."""
    quotes_lines: ClassVar[bool] = True
    """Whether a line that is not TOML may be shown: not where files hold secrets."""

    def __init__(self, source: str, mistakes: list[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line or 0))
        lines = [mistake.at(source) for mistake in self.mistakes]
        super().__init__("\n".join([*lines, *([self.consequence] if self.consequence else [])]))


class Table(BaseModel):
    """A table of a configuration file: its keys are the fields of a subclass.

    Validators raise ValueError whose message completes a sentence about the key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    known_here: ClassVar[str] = ""
    """What to say of the keys that there are; empty: their names."""
    instead: ClassVar[Mapping[str, str]] = {}
    """Keys that somebody may expect here, and what to say of them."""

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        """Conflicts between keys, whether or not each value is valid: `found` may contain anything."""
        return iter(())

    @model_validator(mode="wrap")
    @classmethod
    def _every_mistake(
        cls, found: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        mistakes: list[InitErrorDetails] = []
        for key, what in cls._clashes(found, info.context) if isinstance(found, dict) else ():
            mistakes.append(_mistake((key,) if isinstance(key, str) else key, what))
        try:
            table = handler(found)
            if not mistakes:
                return table
        except ValidationError as error:
            mistakes += [_mistake(*cls._named(each)) for each in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(cls.__name__, mistakes)

    @classmethod
    def _named(cls, error: ErrorDetails) -> tuple[Keys, str]:
        """The keys and the message of one of pydantic's errors."""
        keys, kind, found, context = error["loc"], error["type"], error["input"], error.get("ctx", {})
        if kind == "extra_forbidden":
            name, known = str(keys[-1]), [f.alias or name for name, f in cls.model_fields.items()]
            here = cls.known_here or f"known are {', '.join(known)}"
            return keys, cls.instead.get(name, f"is not known here; {here}{or_near(name, known)}")
        if kind in ("union_tag_invalid", "union_tag_not_found"):
            keys = (*keys, str(context["discriminator"]).strip("'"))
            tags = str(context.get("expected_tags", "")).replace("'", "").split(", ")
            return keys, which_of(context["tag"], tags) if "tag" in context else "is missing"
        what = str(context.get("error") or _MEANINGS.get(kind, error["msg"]))
        key = keys[-1] if keys else ""
        return keys, what.format(found=shown(found), key=key) if kind in _MEANINGS else what


_MEANINGS = {
    "missing": "is missing",
    "bool_type": "{found} is neither true nor false",
    "string_type": "{found} is not a text",
    "string_too_short": "is empty",
    "list_type": "write it as [[{key}]], with two brackets",
    "model_type": "{found} is not a table; write for instance {key}.… = …",
    "model_attributes_type": "{found} is not a table",
    "dict_type": "{found} is not a table; write for instance {key}.… = …",
}
"""What pydantic's errors mean, by their type."""

_ITSELF = "[table]"
"""Stands for the table itself at the end of keys."""

F = TypeVar("F", bound=Table)


def read_text(path: Path, error: type[TomlFileError]) -> str:
    """Read a file as text. Raises `error`."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as bad:
        why = f"it is not UTF-8 at byte {bad.start}"
    except OSError as bad:
        why = bad.strerror or str(bad)
    raise error(str(path), [Mistake(None, "", f"cannot be read: {why}")])


def parse(text: str, model: type[F], *, source: str, error: type[TomlFileError], context: Any = None) -> F:
    """Parse `text` into `model`. `source` names it in messages; `context` is passed to the model's validators.

    Raises `error`, which lists every mistake.
    """
    try:
        document, lines = read_toml(text)
    except NotToml as bad:
        quoted = (
            f": {text.split(chr(10))[bad.line - 1].strip()[:80]!r}" if bad.line and error.quotes_lines else ""
        )
        raise error(source, [Mistake(bad.line, "", f"{bad}{quoted}")]) from None
    try:
        return model.model_validate(document, context=context)
    except ValidationError as bad:
        mistakes = [
            _located(_within(document, each["loc"]), each["msg"], lines)
            for each in bad.errors(include_url=False)
        ]
    raise error(source, mistakes)


def _mistake(keys: Keys, what: str) -> InitErrorDetails:
    return {
        "type": PydanticCustomError("mistake", "{what}", {"what": what}),
        "loc": keys or (_ITSELF,),
        "input": None,
    }


def _within(document: Any, keys: Keys) -> Keys:
    """`keys` without pydantic's additions: a union's tag, and the marker of an invalid key."""
    path: list[str | int] = []
    here = document
    for place, key in enumerate(keys):
        there = here[key] if isinstance(here, dict) and key in here else None
        if isinstance(here, list) and isinstance(key, int) and key < len(here):
            there = here[key]
        if there is None and (place < len(keys) - 1 or key in ("[key]", _ITSELF)):
            continue
        path.append(key)
        here = there
    return tuple(path)


def _located(keys: Keys, what: str, lines: Mapping[Keys, int]) -> Mistake:
    line = next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), None)
    named = ".".join(f"[{part + 1}]" if isinstance(part, int) else part for part in keys)
    return Mistake(line, named.replace(".[", "["), what)
