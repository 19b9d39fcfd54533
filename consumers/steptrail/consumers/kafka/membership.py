"""A member's name in its consumer groups: static membership that needs no configuration.

A group gives the partitions of a member that was killed to others, or to its successor, only after the session
time-out. A successor that joins under the same `group.instance.id` gets them at once. So each consumer on a machine
takes a name from a file that it keeps locked: the kernel frees the lock of a process that died, and the next process
takes that file, hence that name. No two processes hold one file at a time.

A copy of the file (a cloned machine) makes two members of one name. Kafka then fences the older one, which takes a new
name; nothing is lost or written twice, since the ledger does not depend on names.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import socket
import uuid
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaError
from typing_extensions import Self

from steptrail.consumers.kafka.errors import is_fatal, reason_of
from steptrail.schemas.configuration.settings import Settings

_log = logging.getLogger("steptrail.consumers.kafka")

MOST_MEMBERS = 64
"""Names of one kind that a machine keeps; further processes join without one."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}-[0-9a-f]{32}")


class Membership:
    """The name of a process in its groups, for as long as the context lasts.

    `name` is None where no file can be kept. `leaves`: whether a member that stops leaves its group at once; one that
    the user named stays a member until the session time-out, which is what such a name is given for.
    """

    def __init__(self, name: str | None, *, leaves: bool, file: int | None = None) -> None:
        self.name = name
        self.leaves = leaves
        self._file = file

    @classmethod
    def of(cls, settings: Settings, group: str) -> Membership:
        """By `settings.group_instance_id`, else under a name that this machine keeps for members of `group`."""
        if settings.group_instance_id is not None:
            return cls(settings.group_instance_id, leaves=False)
        if "group.instance.id" in settings.kafka_config():
            return cls(None, leaves=False)
        kind = hashlib.sha256(f"{settings.kafka}\n{group}".encode()).hexdigest()[:24]
        try:
            file = _locked(_folder(), kind)
            if file is not None:
                return cls(_kept(file) or _renewed(file), leaves=True, file=file)
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
            _log.debug("this member has no name of its own: %s", error)
        return cls(None, leaves=True)

    def renewed(self, used: str | None, error: BaseException) -> bool:
        """Whether a consumer that joined as `used` may join again under `name` after this error.

        True where another member of that name fenced it and the name was not given by the user; it is a new name then.
        """
        if self._file is None or not is_fencing(error):
            return False
        if used == self.name:
            self.name = _renewed(self._file)
            _log.warning("another member has the name %s: joining again as %s", used, self.name)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)  # and unlock it
            self._file = None


def is_fencing(error: BaseException) -> bool:
    """Whether Kafka ended a consumer because a newer one has its name."""
    found = reason_of(error)
    if not isinstance(found, KafkaError):
        return False
    # librdkafka makes it a fatal error, with the cause in the text.
    return found.code() == KafkaError.FENCED_INSTANCE_ID or (is_fatal(found) and "fenced" in found.str())


def _folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    state = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    folder = state / "steptrail" / "members"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _locked(folder: Path, kind: str) -> int | None:
    """The first file of this kind that no process holds, now held; None if all are. Raises OSError."""
    for number in range(MOST_MEMBERS):
        file = os.open(
            folder / f"{kind}.{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        except BaseException:
            os.close(file)
            raise
        else:
            return file
    return None


def _kept(file: int) -> str | None:
    """The name in the file; None where it holds none."""
    text = os.pread(file, 256, 0).decode("utf-8", "replace")
    return text if _NAME.fullmatch(text) else None


def _renewed(file: int) -> str:
    """A name that nobody has, now in the file. Raises OSError."""
    host = re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())[:128] or "host"
    name = f"{host}-{uuid.uuid4().hex}"
    os.ftruncate(file, 0)
    os.pwrite(file, name.encode(), 0)
    return name
