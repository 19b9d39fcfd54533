"""Options that the parts which run until they are stopped share."""

from __future__ import annotations

from typing import Annotated

import typer

AcceptTopic = Annotated[
    str | None,
    typer.Option(
        "--accept-topic",
        metavar="ID",
        help="Continue although the topic was deleted and recreated: the new topic's id, as in the error message.",
        show_default=False,
    ),
]
