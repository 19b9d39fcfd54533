"""The user `reader`: what people may ask who are to change nothing, see no files and take nothing down.

Four layers, each of which holds alone against most of what was tried (decision 0023 tells of three of them):

1. The engine's rights: the role `steptrail_reader` may select from steptrail's database, and nothing else.
2. The engine's limits: the profile `steptrail_reader`, with bounds that a statement cannot widen, and readonly.
3. This file: the statement as the engine's parser prints it, and that text is what runs. Its root is SELECT, WITH,
   SHOW, DESCRIBE, EXISTS or EXPLAIN; the functions, table functions and system tables in its query tree are on a list,
   as are the settings. The tree is of no passes: nothing in it has run yet, and names are spelled out, whatever the
   escapes, parameters and lambdas that led to them.
4. The kernel's fence around the process (confine.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.statement import Kind, Statement, tokens

NAME = "reader"
ROLE = PROFILE = "steptrail_reader"
MAX_STATEMENT = 256 << 10
"""Bytes of a reader's statement; it is parsed several times, at a second for some MB."""

TABLE_FUNCTIONS = frozenset(
    ("generate_series", "generateSeries", "numbers", "numbers_mt", "primes", "view", "zeros", "zeros_mt")
)
SYSTEM_TABLES = frozenset(
    (
        "aggregate_function_combinators", "asynchronous_metrics", "build_options", "collations", "columns",
        "completions", "contributors", "data_skipping_indices", "data_type_families", "databases", "events",
        "formats", "functions", "keywords", "licenses", "merge_tree_settings", "metrics", "numbers", "numbers_mt",
        "one", "parts", "parts_columns", "projections", "settings", "table_engines", "table_functions", "tables",
        "time_zones", "zeros", "zeros_mt",
    )
)  # fmt: skip
_COMBINATORS = re.compile(
    r"(?:If|Array|Map|State|SimpleState|Merge|MergeState|ForEach|Distinct|OrDefault|OrNull|Resample|ArgMin|ArgMax)\Z"
)
_SETTINGS = re.compile(
    r"(?:output_format_|input_format_|format_|date_time_|cast_|insert_|async_insert|wait_for_async_insert|optimize_"
    r"|max_(?:threads|block_size|execution_time|memory_usage|result_rows|result_bytes|rows_to_read|bytes_to_read)\Z"
    r"|(?:result|timeout|read)_overflow_mode\Z"
    r"|(?:session_timezone|join_use_nulls|group_by_use_nulls|transform_null_in|extremes|limit|offset|final"
    r"|prefer_column_name_to_alias|use_query_condition_cache|log_comment|log_queries|use_client_time_zone|print_pretty_type_names"
    r"|max_error_size|network_(?:compression_method|zstd_compression_level)|(?:http_)?(?:connect|receive|send)_timeout)\Z)"
)
_SHOWN = frozenset(
    (
        "CREATE", "COLUMNS", "DATABASES", "ENGINES", "EXTENDED", "FIELDS", "FULL", "FUNCTIONS", "INDEX", "INDEXES",
        "INDICES", "KEYS", "SETTING", "SETTINGS", "TABLES",
    )
)  # fmt: skip
_EXPLAINED = frozenset((b"AST", b"ESTIMATE", b"PIPELINE", b"PLAN", b"QUERY", b"SYNTAX", b"TREE"))
_CREATED = frozenset(("DATABASE", "TABLE", "VIEW"))
# Syntax that a tree shows as a function.
_SPECIAL = frozenset(("_CAST", "exists", "grouping", "untuple"))
_ROOTS = (Kind.SELECT, Kind.REPORT)
_FUNCTION = re.compile(r"(?<!_)function_name: ([^,\n]*)")
_TABLE_FUNCTION = re.compile(r"table_function_name: ([^,\n]*)")
_NAMED = re.compile(r"(?<!_)(?:identifier|table_name): ([^,\n]*)")


@dataclass(frozen=True)
class Limits:
    """What one statement of the reader may take."""

    seconds: int = 60
    memory: int = 1 << 30
    rows: int = 1_000_000
    bytes: int = 1 << 30
    disk: int = 4 << 30
    threads: int = 16
    at_once: int = 8

    def bounds(self) -> dict[str, int]:
        """The engine's settings for them; a statement may ask for less."""
        return {
            "max_execution_time": self.seconds,
            "max_memory_usage": self.memory,
            "max_result_rows": self.rows,
            "max_result_bytes": self.bytes,
            "max_temporary_data_on_disk_size_for_query": self.disk,
            "max_threads": self.threads,
            "max_block_size": 1 << 18,
        }


def share_of_memory(ratio: float, at_once: int) -> int:
    """What a reader's statement may take, so that all together leave others half of what statements may have."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(64 << 20, min(Limits.memory, int(machine * ratio / 2 / max(1, at_once))))


@cache
def functions() -> frozenset[str]:
    """The functions that a reader may call: all but those that reach for more than the data they are given."""
    return frozenset(
        files("steptrail.deploy.engine").joinpath("reader_functions.txt").read_text("utf-8").split()
    )


@cache
def _functions_in_lower_case() -> frozenset[str]:
    return frozenset(name.lower() for name in functions())


def settings_of(limits: Limits, given: Mapping[str, str]) -> dict[str, str]:
    """The settings of one request, bounded; raises EngineError 164 for one that a reader may not choose."""
    found = {name: str(bound) for name, bound in limits.bounds().items()}
    # As few threads as without a setting, not as many as are allowed.
    found.pop("max_threads")
    found.pop("max_block_size")
    for name, value in given.items():
        if name == "readonly":
            continue
        check_setting(name)
        bound = limits.bounds().get(name)
        if bound is not None and re.fullmatch(r"[0-9]{1,30}", value):
            value = str(min(int(value) or bound, bound))
        found[name] = value
    return found


def check_setting(name: str) -> None:
    """Raise EngineError 164 unless a reader may choose this setting."""
    if not _SETTINGS.match(name):
        raise EngineError(164, f"{NAME}: Cannot modify {name!r} setting in readonly mode")


def check_root(statement: Statement, verdict: str) -> None:
    """Raise EngineError 164 unless the statement's root keyword reads, and the engine's parser says so, too."""
    if statement.kind not in _ROOTS or verdict != "READ_ONLY":
        raise EngineError(
            164,
            f"{NAME}: Cannot execute query in readonly mode. This user only reads: SELECT, SHOW, DESCRIBE, EXISTS, "
            "EXPLAIN",
        )


def query_in(printed: Statement, unlisted: frozenset[str]) -> bytes | None:
    """The query whose tree tells what the statement does; None for those that have none, which are checked by word.

    Raises EngineError 164 for a form of SHOW or EXPLAIN that is not on the list.
    """
    sql = printed.without_format
    if printed.kind is Kind.SELECT:
        return sql
    words = list(tokens(sql))
    root = words[0].group().upper()
    if root == b"DESCRIBE":
        start = words[2 if words[1].group().upper() == b"TABLE" else 1].start()
        return b"SELECT * FROM " + sql[start:]
    if root == b"EXPLAIN":
        for position, word in enumerate(words[1:], 1):
            text = word.group()
            if text in (b"SELECT", b"WITH", b"("):
                return sql[word.start() :]
            sets = words[position + 1 : position + 2]
            if word.lastgroup == "word" and text not in _EXPLAINED and not (sets and sets[0].group() == b"="):
                break
    elif root in (b"SHOW", b"EXISTS"):
        _check_words(words, unlisted)
        return None
    raise EngineError(
        164, f"{NAME}: Cannot execute query in readonly mode: {root.decode()} of this is refused"
    )


def unlisted(known: Iterable[str]) -> frozenset[str]:
    """Of the functions that the engine knows, in lower case, those that a reader may not call."""
    return frozenset(name.lower() for name in known) - _functions_in_lower_case()


def check_tree(tree: str, unlisted: frozenset[str]) -> None:
    """Raise EngineError 497 where a query tree of no passes names what a reader may not use.

    `unlisted` is needed for functions that stand as a bare name where others take them: arrayMap(file, …).
    """
    for name in _TABLE_FUNCTION.findall(tree):
        if name not in TABLE_FUNCTIONS:
            raise _refused("table function", name)
    for name in _FUNCTION.findall(tree):
        if not _may_call(name):
            raise _refused("function", name)
    for name in _NAMED.findall(tree):
        _check_name(name, unlisted)


def check_settings_clause(printed: bytes) -> None:
    """Check each name in a SETTINGS clause, at whatever depth."""
    found = list(tokens(printed))
    inside = False
    for token, after in zip(found, [*found[1:], None], strict=True):
        text = token.group()
        if token.lastgroup == "word" and text.upper() == b"SETTINGS":
            inside = True
        elif (
            inside
            and token.lastgroup in ("word", "quoted")
            and after is not None
            and after.group()[:1] == b"="
        ):
            check_setting(text.strip(b'"`').decode("utf-8", "replace"))


def _check_words(words: Iterable[re.Match[bytes]], unlisted: frozenset[str]) -> None:
    found = list(words)
    texts = [word.group().decode("utf-8", "replace") for word in found]
    upper = [text.upper() for text in texts] + ["", "", ""]
    if upper[0] == "SHOW" and upper[1] == "TEMPORARY":
        del upper[1]
    if upper[0] == "SHOW" and (upper[1] not in _SHOWN or (upper[1] == "CREATE" and upper[2] not in _CREATED)):
        raise EngineError(164, f"{NAME}: {' '.join(upper[:3]).strip()} is not among what this user may ask")
    for position, word in enumerate(found):
        name = texts[position].strip('"`')
        after = found[position + 1] if position + 1 < len(found) else None
        if word.lastgroup not in ("word", "quoted") or texts[position][:1] == "'":
            continue
        if (
            after is not None
            and after.group() == b"("
            and after.start() == word.end()
            and not _may_call(name)
        ):
            raise _refused("function", name)
        _check_name("default." if name == "default" else name, unlisted)


def _may_call(name: str) -> bool:
    while True:
        if name in _SPECIAL or name in functions() or name.lower() in _functions_in_lower_case():
            return True
        shorter = _COMBINATORS.sub("", name)
        if shorter == name:
            return False
        name = shorter


def _check_name(name: str, unlisted: frozenset[str]) -> None:
    database, dot, rest = name.partition(".")
    if not dot:
        if name.lower() in unlisted:
            raise _refused("function", name)
        return
    if database == "default":
        raise EngineError(
            497, f"{NAME}: Not enough privileges: the engine looks for files by names in the database default"
        )
    if database == "system" and rest.partition(".")[0] not in SYSTEM_TABLES:
        raise EngineError(
            497, f"{NAME}: Not enough privileges: system.{rest} is not among what this user may read"
        )


def _refused(kind: str, name: str) -> EngineError:
    return EngineError(
        497,
        f"{NAME}: Not enough privileges: the {kind} {name} is not on this user's list (docs/sql.md). A column of "
        f"that name is written with its table's: t.{name}",
    )
