"""Options that the parts which run until they are stopped share."""

from __future__ import annotations

from typing import Annotated

import typer

AcceptTopic = Annotated[
    str | None,
    typer.Option(
        "--accept-topic",
        metavar="ID",
        help="Go on although the topic was deleted and made again: the new topic's id, as the refusal says it.",
        show_default=False,
    ),
]
