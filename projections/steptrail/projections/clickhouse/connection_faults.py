"""Why a request got no answer, in a few words: what lies beneath the chain of errors that an HTTP client raises."""

from __future__ import annotations

_MOST_LINKS = 20  # of a chain that leads back into itself


def in_few_words(error: BaseException) -> str | None:
    """Such as "Connection refused"; None where the error is about something else."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

    link: BaseException | None = error
    found = None
    for _ in range(_MOST_LINKS):
        if link is None:
            break
        if isinstance(link, ConnectTimeoutError) and not isinstance(link, NewConnectionError):
            return "no connection within the time allowed"
        if isinstance(link, (ReadTimeoutError, TimeoutError)):
            return "no answer within the time allowed"
        if isinstance(link, OSError) and (link.strerror or link.args):
            found = link.strerror or str(link)  # the innermost knows best
        link = link.__cause__ or link.__context__ or _reason(link)
    return found


def _reason(link: BaseException) -> BaseException | None:
    """What urllib3's errors are about, where they do not say it as Python does."""
    reasons = (getattr(link, "reason", None), *link.args)
    return next((reason for reason in reasons if isinstance(reason, BaseException)), None)
