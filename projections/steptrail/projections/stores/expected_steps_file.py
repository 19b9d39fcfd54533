"""Expected steps in a TOML file, to be kept beside the pipelines' code.

[expected_steps]
invoices = ["fetch", "ocr", "index"]
"letters/in" = ["scan", "ocr"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from steptrail.projections.stores.expected_steps import BadDeclaration, check_declaration
from steptrail.schemas.configuration.toml_file import (
    Clashes,
    Found,
    Mistake,
    Table,
    TomlFileError,
    parse,
    read_text,
)
from steptrail.schemas.stored_names import MAX_NAME_BYTES


class ExpectedStepsFileError(TomlFileError, BadDeclaration):
    """A file of expected steps is wrong; the message names every line and key. Nothing of it is declared."""


class _Document(Table):
    """A whole file; validated with the longest name, in bytes, as the context."""

    known_here: ClassVar[str] = (
        "there is one table, [expected_steps], with a list of step names for each pipeline"
    )

    expected_steps: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        pipelines = found.get("expected_steps")
        for pipeline, steps in pipelines.items() if isinstance(pipelines, dict) else ():
            if isinstance(steps, list):
                try:
                    check_declaration(pipeline, steps, context)
                except (BadDeclaration, TypeError) as error:
                    yield ("expected_steps", pipeline), str(error)
            elif isinstance(steps, dict):
                yield (
                    ("expected_steps", pipeline),
                    "expected a list of step names; a pipeline's name with a dot is written in quotes",
                )
            else:
                yield (
                    ("expected_steps", pipeline),
                    f"expected a list of step names, not {type(steps).__name__}",
                )


def read_expected_steps(
    path: str | Path, *, max_name_bytes: int = MAX_NAME_BYTES
) -> dict[str, tuple[str, ...]]:
    """The declarations in a file: the steps of each pipeline that it names, for `declare_all`.

    Raises ExpectedStepsFileError, a BadDeclaration, which names the line and the key of every mistake.
    """
    text = read_text(Path(path), ExpectedStepsFileError)
    return parse_expected_steps(text, str(path), max_name_bytes=max_name_bytes)


def parse_expected_steps(
    text: str, name: str = "text", *, max_name_bytes: int = MAX_NAME_BYTES
) -> dict[str, tuple[str, ...]]:
    """As `read_expected_steps`, of a text; errors call it `name`."""
    document = parse(text, _Document, source=name, error=ExpectedStepsFileError, context=max_name_bytes)
    if not document.expected_steps:
        nothing = "declares nothing: it has no pipelines in a table [expected_steps]"
        raise ExpectedStepsFileError(name, [Mistake(None, "", nothing)])
    return {
        pipeline: check_declaration(pipeline, steps, max_name_bytes)
        for pipeline, steps in document.expected_steps.items()
    }
