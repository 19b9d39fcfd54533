"""The shell of `steptrail sql`: statements and commands, one after another, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.lexers import PygmentsLexer
from prompt_toolkit.output import create_output
from pygments.lexers.sql import SqlLexer

from steptrail.deploy.cli.sql.answers import Answers
from steptrail.deploy.cli.sql.completion import Names, SqlCompleter, names_of
from steptrail.deploy.cli.sql.formats import Format
from steptrail.deploy.cli.sql.history import PrivateHistory, history_file
from steptrail.deploy.cli.sql.statements import changes_session, has_rows, is_complete, split
from steptrail.deploy.terminal.failures import CommandError, as_command_error, report
from steptrail.deploy.terminal.guard import unguarded
from steptrail.deploy.terminal.output import note, say

_TABLES = """
SELECT name, if(engine LIKE '%View', 'view', 'table') AS kind, total_rows AS `rows`, comment
FROM system.tables WHERE database = currentDatabase() ORDER BY name
"""
_COLUMNS = """
SELECT name, type, comment FROM system.columns
WHERE if(database = currentDatabase(), table, concat(database, '.', table)) = {table:String} ORDER BY position
"""
_HELP = r"""
A statement ends with ; and may have many lines. Tab completes, Ctrl-R searches in what was typed before, Ctrl-C
cancels a statement, Ctrl-D leaves. What begins with a space is not kept in the history.

\d            the tables and views
\d TABLE      the columns of one, with what they mean
\f [FORMAT]   how answers are shown: table, vertical, json, csv, parquet
\o FILE       write the next answer to a new file, all its rows, in that format
\limit [N]    show at most so many rows; 0 for all of them
\pager        show long answers through PAGER, or less; or no longer
\?            this
\q            leave
"""


class Shell:
    """Reads from the terminal until its end, and answers; a fault ends no more than its statement."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._store = answers.store
        self._left = False
        self._known = Names()
        self._commands: dict[str, Callable[[str], None]] = {
            "\\?": lambda _: self._help(),
            "\\d": self._describe,
            "\\f": self._choose_format,
            "\\limit": self._choose_limit,
            "\\o": self._choose_file,
            "\\pager": lambda _: self._choose_pager(),
            "\\q": lambda _: self._leave(),
        }

    def run(self) -> None:
        r"""Until Ctrl-D or `\q`."""
        history = PrivateHistory(history_file())
        if history.fault is not None:
            note(f"What is typed is not kept: {history.fault}")
        session: PromptSession[str] = PromptSession(
            "steptrail write> " if self._store.write else "steptrail> ",
            multiline=Condition(lambda: not _is_finished(get_app().current_buffer.text)),
            prompt_continuation=lambda width, _, __: "-> ".rjust(width),
            history=history,
            completer=SqlCompleter(self._names, self._commands),
            complete_in_thread=True,
            complete_while_typing=False,
            lexer=PygmentsLexer(SqlLexer),
            output=create_output(unguarded(sys.stdout)),
        )
        note(f"{self._store.name}. \\? says what can be typed, \\q leaves.")
        while not self._left:
            try:
                self.take(session.prompt())
            except KeyboardInterrupt:  # what was typed is dropped
                continue
            except EOFError:
                return

    def take(self, text: str) -> None:
        """Run what was typed, a command or statements; the first fault is told, and ends it."""
        try:
            word, _, rest = text.strip().partition(" ")
            if word.startswith("\\"):
                if word not in self._commands:
                    raise CommandError(f"{word} is no command here.", hint="\\? says what can be typed.")
                self._commands[word](rest.strip().rstrip(";"))
            elif _is_goodbye(text):
                self._leave()
            else:
                for statement in split(text):
                    self._answer(statement)
        except KeyboardInterrupt:
            note("Cancelled.")
        except Exception as error:
            told = as_command_error(error)
            if told is None:
                raise
            report(told, as_json=False)

    def _answer(self, statement: str) -> None:
        if changes_session(statement):
            raise CommandError(
                "each statement is on its own here: what SET and USE change would be forgotten.",
                hint="write SETTINGS name = value at the statement's end, or database.table.",
            )
        self._answers.give(statement)
        if not has_rows(statement):
            self._known = Names()  # there may be others now

    def _help(self) -> None:
        for line in _HELP.strip("\n").split("\n"):
            say(line, folded=False)

    def _describe(self, table: str) -> None:
        if not table:
            answer = self._store.ask(_TABLES)
        else:
            answer = self._store.ask(_COLUMNS, parameters={"table": table.strip('`"')})
            if not answer.rows:
                near = get_close_matches(table, list(self._names().tables), 3)
                raise CommandError(f"there is no table or view {table!r}.", near=near, hint="\\d lists them.")
        Answers(self._store, paging=self._answers.paging).show(answer.names, answer.rows)

    def _choose_format(self, name: str) -> None:
        if name:
            try:
                self._answers.form = Format(name.lower())
            except ValueError:
                known = ", ".join(each.value for each in Format)
                raise CommandError(f"{name!r} is no format.", hint=f"one of {known}.") from None
        note(f"Answers are shown as {self._answers.form.value}.")

    def _choose_limit(self, number: str) -> None:
        if number:
            if not number.isascii() or not number.isdecimal() or len(number) > 9:
                raise CommandError(f"{number!r} is no number of rows.")
            self._answers.limit = int(number)
        note(
            f"At most {self._answers.limit} rows are shown." if self._answers.limit else "All rows are shown."
        )

    def _choose_file(self, name: str) -> None:
        self._answers.file = Path(name).expanduser() if name else None
        note(f"The next answer goes to {name}." if name else "Answers go to the terminal.")

    def _choose_pager(self) -> None:
        self._answers.paging = not self._answers.paging
        note(f"Long answers {'go through the pager' if self._answers.paging else 'are shown as they come'}.")

    def _leave(self) -> None:
        self._left = True

    def _names(self) -> Names:
        """What can be completed; asked for at the first use, in the thread of the completion."""
        if not self._known.tables:
            with closing(self._store.another()) as store:
                self._known = names_of(store)
        return self._known


def _is_goodbye(text: str) -> bool:
    return text.strip().rstrip(";").lower() in ("exit", "quit")


def _is_finished(text: str) -> bool:
    """Whether Enter runs what was typed, rather than begin another line of it."""
    start = text.lstrip()
    return not start or start.startswith("\\") or _is_goodbye(text) or is_complete(text)
