"""The work of the demonstration's pipeline on texts: encodings, words, and whether a parser accepts them."""

from __future__ import annotations

import ast
import configparser
import csv
import io
import json
import re
import tokenize
import warnings
from collections import Counter
from html.parser import HTMLParser


def declared_encoding(kind: str, data: bytes) -> str:
    """The encoding that the document itself states, or latin-1, which takes every byte."""
    if kind == "python":
        try:
            return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except (SyntaxError, UnicodeDecodeError):
            return "latin-1"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    stated = re.search(rb"(?:encoding|charset)\s*=\s*[\"']?([A-Za-z0-9._-]+)", data[:1024])
    name = stated[1].decode("ascii") if stated else "latin-1"
    return "latin-1" if name.lower().replace("_", "-") in ("utf-8", "utf8") else name


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def to_text(kind: str, source: str) -> str:
    """The words in a document's source: HTML and XML without tags, manual pages without requests."""
    if kind in ("html", "xml"):
        parser = _Text()
        parser.feed(source)
        return " ".join(parser.parts)
    if kind == "manual":
        without = re.sub(r"^[.'][^\n]*$", "", source, flags=re.MULTILINE)
        return re.sub(r"\\(?:f[A-Z]|\(..|[-&|^])", "", without)
    return source


#: The kinds that `parse` takes.
PARSED = frozenset({"python", "json", "xml", "csv", "config"})


def parse(kind: str, source: str) -> dict[str, int]:
    """Counts that show the source was understood. Raises whatever the parser raises."""
    if kind == "python":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        return {"definitions": sum(isinstance(node, _DEFINITIONS) for node in ast.walk(tree))}
    if kind == "json":
        found = json.loads(source)
        return {"items": len(found) if isinstance(found, (dict, list)) else 1}
    if kind == "xml":
        return {"elements": _count_elements(source)}
    if kind == "csv":
        return {"rows": sum(1 for _ in csv.reader(io.StringIO(source), strict=True))}
    reader = configparser.RawConfigParser()
    reader.read_string(source)
    return {"sections": len(reader.sections())}


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _count_elements(source: str) -> int:
    # Expat itself limits how far entities may blow up; the documents are this machine's own.
    from xml.parsers import expat

    count = 0

    def started(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1

    # The text is decoded already: what the document says about its encoding no longer holds.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = started
    parser.Parse(source.encode(), True)
    return count


_TERM = re.compile(r"[^\W\d_]{3,}")


def count_terms(text: str) -> Counter[str]:
    """How often each word of three letters or more occurs, in lower case."""
    return Counter(_TERM.findall(text.lower()))
