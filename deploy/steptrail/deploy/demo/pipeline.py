"""The demonstration's pipeline: one document from its file to its terms, each step recorded as it happens.

This is what a user's pipeline looks like with steptrail in it: the work, in `with manager.step(…)`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from steptrail.deploy.demo import files, images, texts
from steptrail.deploy.demo.files import Unsuitable
from steptrail.producers import ProcessingStepManager, StepContext

#: Its steps, in the order in which a document comes to them.
STEPS = (
    "read",
    "detect",
    "decompress",
    "detect_inside",
    "unpack",
    "measure_image",
    "decode",
    "extract_text",
    "count_terms",
    "parse",
)

#: A step that takes longer ends with WARNING.
SLOW_MS = 250.0

#: So does a document with more different terms than this.
MANY_TERMS = 4000


def process(manager: ProcessingStepManager, path: str, *, run: str) -> None:
    """Take the document at `path`, which is also its id, through the steps that suit it. Never raises."""
    with suppress(Exception):  # the step that it came from has recorded it; on to the next document
        _process(manager, path, run)


def _process(manager: ProcessingStepManager, path: str, run: str) -> None:
    with _step(manager, path, "read", details={"run": run}) as step:
        data = files.read(path)
        step.metric("bytes", len(data))

    name = os.path.basename(path)
    kind = _detect(manager, path, "detect", name, data, after="read")
    if kind in files.COMPRESSED:
        with _step(manager, path, "decompress", details={"format": kind}, depends_on="detect") as step:
            packed = len(data)
            data = files.decompress(kind, data)
            step.metrics |= {"bytes": len(data), "ratio": round(len(data) / packed, 2)}
        name = os.path.splitext(name)[0]
        kind = _detect(manager, path, "detect_inside", name, data, after="decompress")

    if kind in files.ARCHIVES:
        _archive(manager, path, kind, data)
    elif kind in files.IMAGES:
        with _step(manager, path, "measure_image", details={"format": kind}, depends_on="detect") as step:
            step.metrics |= images.measure_image(kind, data)
    else:
        _text(manager, path, kind, data)


def _detect(
    manager: ProcessingStepManager, path: str, step_name: str, name: str, data: bytes, *, after: str
) -> str:
    with _step(manager, path, step_name, depends_on=after) as step:
        kind, promised = files.detect(name, data)
        step.details["kind"] = kind
        if kind in ("empty", "binary"):
            raise Unsuitable(kind)
        if promised not in ("", kind):
            step.warn(f"the name says {promised}, the content says {kind}")
    return kind


def _archive(manager: ProcessingStepManager, path: str, kind: str, data: bytes) -> None:
    with _step(manager, path, "unpack", details={"format": kind}, depends_on="detect") as step:
        members = files.unpack(kind, data)
        step.metrics |= {"members": len(members), "bytes": sum(len(content) for _, content in members)}
    readable: list[str] = []
    with _step(manager, path, "extract_text", depends_on="unpack") as step:
        for name, content in members:
            inner, _ = files.detect(name, content)
            if inner in ("text", "python", "html", "xml", "json", "csv", "config", "manual"):
                readable.append(texts.to_text(inner, content.decode("utf-8", "replace")))
        step.metric("members", len(readable))
        if not readable:
            raise Unsuitable("no member is a text")
    _count(manager, path, "\n".join(readable))


def _text(manager: ProcessingStepManager, path: str, kind: str, data: bytes) -> None:
    source = _decode(manager, path, kind, data)
    with _step(manager, path, "extract_text", depends_on="decode") as step:
        text = texts.to_text(kind, source)
        step.metric("characters", len(text))
    # Terms do not need a parser's blessing: count first, so that a syntax error costs nothing.
    _count(manager, path, text)
    if kind in texts.PARSED:
        with _step(manager, path, "parse", details={"language": kind}, depends_on="decode") as step:
            step.metrics |= texts.parse(kind, source)


def _decode(manager: ProcessingStepManager, path: str, kind: str, data: bytes) -> str:
    """Strictly as UTF-8, then by the encoding that the document itself declares."""
    try:
        return _decode_as(manager, path, "utf-8", data, retry=0)
    except UnicodeDecodeError:
        return _decode_as(manager, path, texts.declared_encoding(kind, data), data, retry=1)


def _decode_as(manager: ProcessingStepManager, path: str, encoding: str, data: bytes, *, retry: int) -> str:
    # The first failure can be mended, so it is an ERROR; the second is for good.
    fatal = Exception if retry else LookupError
    details = {"encoding": encoding, "retry_count": retry}
    with _step(manager, path, "decode", details=details, depends_on="detect", fatal=fatal) as step:
        source = data.decode(encoding)
        step.metric("characters", len(source))
        return source


def _count(manager: ProcessingStepManager, path: str, text: str) -> None:
    bounds = {"distinct": MANY_TERMS}
    with _step(manager, path, "count_terms", depends_on="extract_text", thresholds=bounds) as step:
        terms = texts.count_terms(text)
        step.metrics |= {"terms": terms.total(), "distinct": len(terms)}
        step.details["most_common"] = [term for term, _ in terms.most_common(3)]
        if not terms:
            step.warn("no terms in it")


@contextmanager
def _step(
    manager: ProcessingStepManager,
    path: str,
    name: str,
    *,
    fatal: type[BaseException] = Exception,
    **options: Any,
) -> Iterator[StepContext]:
    """`manager.step`, where Unsuitable means SKIPPED, and ends the document."""
    left_out: Unsuitable | None = None
    with manager.step(path, name, warn_after_ms=SLOW_MS, fatal=fatal, **options) as step:
        try:
            yield step
        except Unsuitable as reason:
            step.skip(str(reason))
            left_out = reason
    if left_out is not None:
        raise left_out
