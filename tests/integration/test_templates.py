"""The template of an error message, by the real engine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steptrail.projections.aggregates.templates import LONGEST, LONGEST_INPUT, PLACEHOLDERS, template_sql
from support.effort import effort
from support.engine import EngineServer, engine

__all__ = ["engine"]

EXAMPLES = {
    # Python
    "[Errno 2] No such file or directory: '/data/in/scan_0042.pdf'": "[Errno <num>] No such file or directory: <str>",
    "KeyError: 'invoice_number'": "KeyError: <str>",
    "list index out of range": "list index out of range",
    "'NoneType' object has no attribute 'text'": "<str> object has no attribute <str>",
    "could not convert string to float: '12,50 €'": "could not convert string to float: <str>",
    "can't decode byte 0xff in position 17: invalid start byte": (
        "can't decode byte <id> in position <num>: invalid start byte"
    ),
    "user 42 doesn't exist, won't retry": "user <num> doesn't exist, won't retry",
    "<Page object at 0x7f3a2c1d9e50> is closed": "<Page object at <id>> is closed",
    "CUDA out of memory. Tried to allocate 2.50 GiB": "CUDA out of memory. Tried to allocate <num> GiB",
    "tensor sizes [32, 768, 12] and [32, 512] do not match": "tensor sizes [<num>] and [<num>] do not match",
    "loss is 1.5e-07 after 200 steps": "loss is <num> after <num> steps",
    # Java
    'Cannot invoke "String.length()" because "<local1>" is null': "Cannot invoke <str> because <str> is null",
    "java.net.SocketTimeoutException: Read timed out after 30000 ms at com.acme.Client.send(Client.java:214)": (
        "java.net.SocketTimeoutException: Read timed out after <num> ms at com.acme.Client.send(Client.java:<num>)"
    ),
    "com.acme.Document@6d06d69c is not serializable": "com.acme.Document@<id> is not serializable",
    # HTTP and the network
    "500 Server Error: Internal Server Error for url: https://ocr.example.com:8443/v2/pages/17?token=abc": (
        "<num> Server Error: Internal Server Error for url: <url>"
    ),
    "HTTP/1.1 429 Too Many Requests, retry after 12.5s": "HTTP/<num> <num> Too Many Requests, retry after <num>s",
    "no answer from 10.0.3.17:8080 within 30 s": "no answer from <addr> within <num> s",
    "connect to [2001:db8::8a2e:370:7334]:9092 failed": "connect to [<addr>]:<num> failed",
    "kafka-3.kafka.svc.cluster.local:9092: Connect timed out": "<addr>: Connect timed out",
    "mail to max.mustermann@example.org bounced": "mail to <email> bounced",
    "s3://bucket/key/2026/05/04/file.parquet (Access Denied)": "<url> (Access Denied)",
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def rejected": "Bearer <id> rejected",
    # SQL
    'duplicate key value violates unique constraint "pk" DETAIL: Key (id)=(01J8Z3NDEKTSV4RRFFQ69G5FAV) exists': (
        "duplicate key value violates unique constraint <str> DETAIL: Key (id)=(<id>) exists"
    ),
    "Process 1234 waits for ShareLock on transaction 5678": "Process <num> waits for ShareLock on transaction <num>",
    "deadlock at 2026-05-04T12:00:00.123Z and 2026-05-04 12:00:01,5": "deadlock at <time> and <time>",
    "locked since Mon, 04 May 2026 12:00:00 GMT": "locked since <time>",
    "document 018f2c3e-7d1b-7c3a-9b1e-2f6d8c4a1b00 is locked by worker-7": (
        "document <id> is locked by worker-<num>"
    ),
    "commit 3f786850e387550fdab836ed7e6dc881de23001b not found": "commit <id> not found",
    # OCR
    "Error opening data file /usr/share/tessdata/deu.traineddata": "Error opening data file <path>",
    r"cannot read C:\Users\müller\Scans\4711.pdf": "cannot read <path>",
    "page 3 of 17: confidence 0.42 below 0.60 at (12, 440, 18, 9)": (
        "page <num> of <num>: confidence <num> below <num> at (<num>)"
    ),
    "scan_0042.pdf has no text layer": "scan_<num>.pdf has no text layer",
    # Any script
    "文档 1234 解析失败：第 ５６ 页": "文档 <num> 解析失败：第 <num> 页",
    "Документ «Счёт №17» не найден": "Документ <str> не найден",
    "الصفحة ٣ من ١٧ فارغة": "الصفحة <num> من <num> فارغة",
    # What is no path, no address and no quotation
    "and/or n/a 3/4 km/h application/json": "and/or n/a <num>/<num> km/h application/json",
    "std::bad_alloc in rock 'n' roll's module::ns": "std::bad_alloc in rock <str> roll's module::ns",
    "": "",
    " \n\t ": "",
    "two\r\n  lines\x00": "two lines",
}


def templates(engine: EngineServer, messages: Sequence[str]) -> list[str]:
    """The template of each message."""
    listed = ", ".join(f"unhex('{one.encode('utf-8', 'surrogatepass').hex()}')" for one in messages)
    out = engine.ask(
        f"SELECT hex({template_sql('message')}) FROM (SELECT arrayJoin([{listed}]) AS message) FORMAT TSV",
        max_query_size=10_000_000,
    )
    return [bytes.fromhex(line).decode() for line in out.split("\n")]


def test_realistic_messages(engine: EngineServer) -> None:
    """A table of what goes wrong in pipelines, and what of it stays."""
    found = templates(engine, list(EXAMPLES))
    assert dict(zip(EXAMPLES, found, strict=True)) == EXAMPLES


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from([*PLACEHOLDERS, *EXAMPLES]),
    st.sampled_from(
        [*"'\"`“”«» /\\:.,;@-_<>…\n0aA7f", "://", "::", "a/b/c", "1.2.3.4", "d'une", "T12:00", "e5"]
    ),
    st.from_regex(r"[0-9a-f:./@' -]{1,20}", fullmatch=True),
)
MESSAGES = st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=40)
GIVEN = settings(
    max_examples=effort(25, 60),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.thorough
@GIVEN
@given(messages=MESSAGES)
def test_the_template_of_a_template_is_itself(engine: EngineServer, messages: list[str]) -> None:
    """And holds no digit; whatever the message is."""
    once = templates(engine, messages)
    assert templates(engine, once) == once
    assert not [one for one in once if any(unicodedata.category(char) == "Nd" for char in one)]


@pytest.mark.thorough
@GIVEN
@given(
    words=st.lists(
        st.sampled_from(["no page", "of {}", "took {} ms", "{}", "(code {})", "x={},"]), min_size=1
    ),
    numbers=st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=60, max_size=60),
)
def test_messages_that_differ_in_numbers_alone_have_one_template(
    engine: EngineServer, words: list[str], numbers: list[tuple[int, int]]
) -> None:
    """Whatever the numbers are."""
    form = " ".join(words[:60])
    first, second = (form.format(*[pair[side] for pair in numbers]) for side in (0, 1))
    if max(map(len, (first, second))) <= LONGEST_INPUT:
        one, other = templates(engine, [first, second])
        assert one == other


def test_a_long_message_is_cut_and_says_so(engine: EngineServer) -> None:
    """A megabyte of text, of digits, of noise: bounded, with an ellipsis, and its own template."""
    noise = bytes(range(256)).decode("latin-1") * 4096
    long = ["word " * 200_000, "7" * 1_000_000, noise, "é" * 500_000, "'" * 1_000_000, "1 " * 500_000]
    found = [templates(engine, [one])[0] for one in long]
    for one in found:
        assert one.endswith("…")
        assert len(re.sub("|".join(PLACEHOLDERS), "x", one)) <= LONGEST + 1
        assert len(one.encode()) <= LONGEST_INPUT
    assert templates(engine, found) == found


def test_bytes_that_are_no_text_are_replaced(engine: EngineServer) -> None:
    """What is not UTF-8 gives a template that is."""
    out = engine.ask(f"SELECT hex({template_sql('message')}) FROM (SELECT unhex('61FFFE6220C3') AS message)")
    assert bytes.fromhex(out).decode().startswith("a\ufffd")
