"""Output formats: which may be streamed block by block, and the Content-Type of each."""

from __future__ import annotations

_CANONICAL = {"TSV": "TabSeparated", "TSVRaw": "TabSeparatedRaw", "NDJSON": "JSONLines"}
# The engine hands each block over as a whole document: only formats without header, footer or separators
# between rows may be put one after the other.
_STREAMED = frozenset(
    (
        "Native",
        "TabSeparated",
        "TSV",
        "CSV",
        "RowBinary",
        "JSONEachRow",
        "JSONLines",
        "NDJSON",
        "JSONCompactEachRow",
    )
)
_TYPES = {
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNames": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "ORC": "application/octet-stream",
    "Avro": "application/octet-stream",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "XML": "application/xml; charset=UTF-8",
}


def canonical(name: str) -> str:
    """Return the name that ClickHouse reports for a format or its alias."""
    return _CANONICAL.get(name, name)


def is_streamed(name: str) -> bool:
    """Tell whether blocks in this format may be sent one by one."""
    return name in _STREAMED


def content_type(name: str) -> str:
    """Return the Content-Type of a format's output."""
    found = _TYPES.get(name)
    if found is not None:
        return found
    if name.startswith("JSON"):
        return (
            "application/x-ndjson; charset=UTF-8" if "EachRow" in name else "application/json; charset=UTF-8"
        )
    if name.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    return "text/plain; charset=UTF-8"
