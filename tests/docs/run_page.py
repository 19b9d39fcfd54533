"""Run one page of documentation: `python run_page.py docs/emitting.md`. Exits 1 where a block fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.pages import read_page

_CANNOT_KNOW = 3
_TRIES = 10  # a broker on a busy machine may take longer than a command waits for it


def main(name: str) -> None:
    page = read_page(Path(name))

    def run_command(command: str, line: int) -> None:
        for _ in range(_TRIES):
            done = subprocess.run(
                command, shell=True, capture_output=True, text=True, timeout=400, check=False
            )
            print(f"{name}:{line}: $ {command}\n{done.stdout}{done.stderr}", flush=True)
            if done.returncode != _CANNOT_KNOW or "did not answer within" not in done.stderr:
                break
        if done.returncode != 0:
            raise SystemExit(f"{name}:{line}: exit code {done.returncode} of: {command}\n{done.stderr}")

    program = compile(page.source, name, "exec", dont_inherit=True)
    exec(program, {"__name__": "__main__", "run_command": run_command})


if __name__ == "__main__":
    main(sys.argv[1])
