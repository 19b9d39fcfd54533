"""Documents in a file: names and JSON objects, and mistakes by their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from steptrail.deploy.terminal.documents_file import read_documents
from steptrail.deploy.terminal.failures import CommandError


def test_a_line_is_a_name_or_an_object(tmp_path: Path) -> None:
    """Names keep their blanks and strange characters; empty lines and a byte order mark are no documents."""
    file = tmp_path / "documents"
    file.write_bytes(
        "\ufeffinvoice-17\r\n\n a b\u2028c \n"
        '{"doc_id": "invoice-18"}\n{"pipeline": "scans", "doc_id": "{x}"}'.encode()
    )
    assert read_documents(file, "invoices") == [
        ("invoices", "invoice-17"),
        ("invoices", " a b\u2028c "),
        ("invoices", "invoice-18"),
        ("scans", "{x}"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n{not json\n", "line 2"),
        (b'a\nb\n{"doc": "x"}\n', "line 3"),
        (b'{"doc_id": 7}', "line 1"),
        (b'{"doc_id": "x", "pipeline": ""}', "line 1"),
        (b"a\n\xff\n", "line 2: no UTF-8"),
        (b"\n \n", "names no document"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    """Nothing of the file is taken then."""
    file = tmp_path / "documents"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=said) as raised:
        read_documents(file, "p")
    assert raised.value.exit_code == 2


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """By its name and why."""
    with pytest.raises(CommandError, match=r"cannot read .*nowhere"):
        read_documents(tmp_path / "nowhere", "p")
