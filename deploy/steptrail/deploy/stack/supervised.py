"""One part under supervision: started, watched, reported when it crashes, restarted with a growing pause."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from steptrail.deploy.stack.child import Child, describe_exit
from steptrail.deploy.stack.parts import Part


class PartState(str, Enum):
    """Where a part is."""

    STARTING = "starting"
    READY = "ready"
    SILENT = "not answering"
    WAITING = "crashed, restarts soon"
    DONE = "done"
    STOPPED = "stopped"


@dataclass(frozen=True)
class RestartPolicy:
    """When a part is started again. Seconds; `give_up_after` counts crashes of a part that was never ready.

    A busy machine makes any part miss an answer now and then: one that has not answered for `doubt_s` is said
    to be silent, one that has not for `silent_s` is killed.
    """

    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    calm_s: float = 60.0
    check_s: float = 3.0
    doubt_s: float = 8.0
    silent_s: float = 60.0
    give_up_after: int = 3

    def pause(self, crashes: int) -> float:
        """The pause before the next start, after so many crashes in a row."""
        return float(min(self.longest_pause_s, self.first_pause_s * 2 ** min(crashes - 1, 16)))


class Supervised:
    """A part and its process. `tick` does what is due at a time; all times are seconds of one monotonic clock."""

    def __init__(
        self,
        part: Part,
        spawn: Callable[[Part], Child],
        say: Callable[[str], None],
        policy: RestartPolicy,
    ) -> None:
        self.part = part
        self.state = PartState.STOPPED
        self.restarts = 0
        self.last_exit: str | None = None
        self.never_ready = True
        self.crashes = 0
        self.since = 0.0
        self._spawn = spawn
        self._say = say
        self._policy = policy
        self._child: Child | None = None
        self._due = 0.0
        self._answered = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid if self._child is not None else None

    @property
    def hopeless(self) -> bool:
        """Whether it failed in a way, or so often, that a first start should be given up."""
        if self.part.once:
            return self.crashes > 0
        return self.never_ready and self.crashes >= self._policy.give_up_after

    def start(self, now: float) -> None:
        """Start its process; where that fails (a full disk, say) it counts as a crash."""
        self.since = self._answered = self._due = now
        try:
            self._child = self._spawn(self.part)
        except OSError as fault:
            self._crashed(f"it could not be started: {fault}", now)
        else:
            self.state = PartState.STARTING

    def tick(self, now: float) -> bool:
        """Notice an end, ask for its health, restart it, whatever is due; True when its state changed."""
        before = (self.state, self.pid)
        if self._child is None:
            if self.state is PartState.WAITING and now >= self._due:
                self.restarts += 1
                self.start(now)
        elif (code := self._child.poll()) is not None:
            self._ended(code, now)
        elif now >= self._due:
            self._check(now)
        return (self.state, self.pid) != before

    def terminate(self) -> None:
        """Ask its process to end."""
        if self._child is not None:
            self._child.terminate()

    def stopped(self) -> bool:
        """Whether its process has ended, after `terminate`."""
        if self._child is not None and self._child.poll() is None:
            return False
        self._child = None
        if self.state is not PartState.DONE:
            self.state = PartState.STOPPED
        return True

    def kill(self) -> None:
        """End its process and everything in its group now."""
        if self._child is not None:
            self._child.kill()
        self.stopped()

    def told(self, wall_of: Callable[[float], float]) -> dict[str, Any]:
        """Its state as JSON takes it, times as seconds since 1970."""
        return {
            "name": self.part.name,
            "state": self.state.value,
            "pid": self.pid,
            "restarts": self.restarts,
            "started_at": wall_of(self.since) if self._child is not None else None,
            "address": self.part.address or None,
            "last_exit": self.last_exit,
        }

    def _ended(self, code: int, now: float) -> None:
        self._child = None
        if self.part.once and code == 0:
            self.state = PartState.DONE
            return
        self._crashed(describe_exit(code), now)

    def _crashed(self, cause: str, now: float) -> None:
        if now - self.since >= self._policy.calm_s:
            self.crashes = 0
        self.crashes += 1
        self.last_exit = cause
        if self.part.once:
            self.state = PartState.STOPPED
            return
        pause = self._policy.pause(self.crashes)
        self.state = PartState.WAITING
        self._due = now + pause
        self._say(f"{self.part.name} ended ({self.last_exit}); starting it again in {pause:g} s")

    def _check(self, now: float) -> None:
        if self.part.once:
            return
        assert self._child is not None
        if self.part.ready(self._child.pid):
            self._answered = now
            if self.state is not PartState.READY:
                self._say(f"{self.part.name} ready at {self.part.address} ({now - self.since:.1f} s)")
            self.state = PartState.READY
            self.never_ready = False
            self._due = now + self._policy.check_s
            return
        allowed = self.part.start_s if self.state is PartState.STARTING else self._policy.silent_s
        if self.state is PartState.READY and now - self._answered >= self._policy.doubt_s:
            self.state = PartState.SILENT
            self._say(f"{self.part.name} does not answer at {self.part.address}")
        if now - self._answered >= allowed:
            self._say(f"{self.part.name} has not answered for {now - self._answered:.0f} s; killing it")
            with contextlib.suppress(OSError):
                self._child.kill()
        # While it starts it is asked often: what waits for it is waiting now.
        self._due = now + (0.05 if self.state is PartState.STARTING else 1.0)
