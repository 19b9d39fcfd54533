"""`steptrail demo`: the whole job on real documents of this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote
from shutil import which
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import NO, USAGE, CommandError, need_local_stack
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, use_stack
from steptrail.deploy.terminal.output import say, write_json
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from steptrail.deploy.demo.progress import Display
    from steptrail.deploy.demo.run import DemoResult
    from steptrail.projections.clickhouse.client import ClickHouse


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running, to go on asking.")] = False,
    docs: Annotated[
        int, typer.Option("--docs", min=1, max=1_000_000, help="At most so many documents.")
    ] = 3000,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=64, help="Worker processes; default: 2 to 4, by this machine's cores."
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Folder of the demonstration's own stack; default: `demo` in the default folder.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show the whole job on real documents that are found on this machine.

    It starts a local stack of its own, then several worker processes read, unpack, parse and count the
    documents and record step events; the projector writes them to ClickHouse; then the figures come back
    by SQL. The documents are only read. Some damaged copies of them are made, so that every failure occurs.
    The data stays in the folder, and the next run adds to it. Nothing is left running, unless --keep.

    Exits 1 when the numbers of events emitted, delivered and projected are not the same. With --json the
    result is one object on standard output.

    \b
    steptrail demo
    steptrail demo --keep
    steptrail demo --docs 300 --workers 2 --json
    """
    need_local_stack()
    from concurrent.futures import ThreadPoolExecutor

    from steptrail.deploy.demo.corpus import choose
    from steptrail.deploy.demo.progress import display
    from steptrail.deploy.demo.report import as_json, print_report
    from steptrail.deploy.demo.stack import stack_in
    from steptrail.projections.clickhouse.client import connect
    from steptrail.schemas.configuration.settings import Settings, default_dir

    folder = (directory or default_dir() / "demo").expanduser().absolute()
    count = workers or max(2, min(4, os.cpu_count() or 2))
    shown = display()
    try:
        shown.stage("starting Kafka, ClickHouse, the projector")
        with ThreadPoolExecutor(1) as aside:
            looked_for = aside.submit(choose, docs)  # while the stack's processes start
            with stack_in(folder, keep=keep) as ran_before:
                use_stack(folder)
                shown.stage("choosing documents")
                documents = _with_damaged(looked_for.result(), folder, docs)
                with connect(Settings()) as clickhouse:
                    result = _work(clickhouse, documents, min(count, len(documents)), shown)
                    shown.end()
                    if json:
                        write_json(named(as_json(result)))
                    else:
                        print_report(result)
                        _print_document(clickhouse, result)
                if not (keep or ran_before):
                    shown = display()
                    shown.stage("stopping the stack")
    finally:
        shown.end()
    if not json:
        _print_next(folder, result, running=keep or ran_before)
    if not result.agree:
        raise typer.Exit(NO)


def _with_damaged(found: list[str], folder: Path, docs: int) -> list[str]:
    """The documents, a tenth of them at most replaced by damaged copies of others."""
    from steptrail.deploy.demo.damage import make_damaged

    if not found:
        raise CommandError("no documents were found on this machine.", exit_code=USAGE, kind="no_documents")
    damaged = make_damaged(found, folder / "damaged", docs // 10)
    return found[: docs - len(damaged)] + damaged


def _work(clickhouse: ClickHouse, documents: list[str], workers: int, shown: Display) -> DemoResult:
    from steptrail.deploy.demo.run import Progress, run_demo

    shown.stage(f"{counted(workers, 'worker')} on {counted(len(documents), 'document')}", len(documents))
    worked = False

    def projected(done: int, total: int) -> None:
        nonlocal worked
        if not worked:
            worked = True
            shown.stage("projecting what they emitted", total)
        shown.counted(done, total)

    progress = Progress(worked=shown.counted, projected=projected)
    return run_demo(clickhouse, documents, workers, progress)


def _print_document(clickhouse: ClickHouse, result: DemoResult) -> None:
    from steptrail.deploy.cli.commands.doc import show_document
    from steptrail.deploy.demo.run import PIPELINE
    from steptrail.projections.reading.reader import Reader

    document = result.summary.interesting
    if document is None:
        return
    reader = Reader(clickhouse)
    page = reader.timeline(PIPELINE, document, limit=20, newest_first=True)
    say("")
    say("One document", style="bold")
    show_document(document, reader.document_state(PIPELINE, document), page.items[::-1])


def _print_next(folder: Path, result: DemoResult, *, running: bool) -> None:
    document = quote(result.summary.interesting or "DOC")
    lines = [*_pages(folder, result), "", "What to type next:", *_on_path()]
    if not running:
        lines.append(f"  steptrail up --detach --dir {quote(str(folder))}")
    lines += [
        f"  export STEPTRAIL_DIR={quote(str(folder))}",
        "  steptrail failing",
        "  steptrail errors --since 1h --limit 20",
        f"  steptrail doc {document}",
        '  steptrail sql "SELECT step_name, status, count() FROM steps GROUP BY ALL ORDER BY ALL"',
        "  steptrail lag",
        "  steptrail down"
        if running
        else f"  rm -r {quote(str(folder))}        # the demonstration's data, when you are done",
    ]
    for line in lines:
        say(line, folded=False)


def _on_path() -> list[str]:
    """How a shell finds `steptrail`, where it does not, as in a clone whose environment `make` has set up."""
    installed = Path(sys.executable).parent
    if which("steptrail") is not None or not (installed / "steptrail").exists():
        return []
    return [f'  export PATH={quote(str(installed))}:"$PATH"']


def _pages(folder: Path, result: DemoResult) -> list[str]:
    """Where the pages of a stack that runs are: all of it, and the document that was shown."""
    from urllib.parse import urlencode

    from steptrail.deploy.demo.run import PIPELINE
    from steptrail.schemas.configuration.settings import read_stack_file

    running = read_stack_file(folder)
    if running is None or not running.web:
        return []
    lines = ["", "Open in a browser:", f"  {running.web}"]
    if result.summary.interesting is not None:
        chosen = urlencode({"pipeline": PIPELINE, "doc": result.summary.interesting})
        lines.append(f"  {running.web}document?{chosen}")
    return lines


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(demo)
