"""Write ``jars.lock`` anew, after a version change: ``python -m steptrail.deploy.stack.lock_jars``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from steptrail.deploy.stack.jars import ENDPOINTS, sha256_of

HEADER = """\
# Every jar on the class path of the local stack's broker: SHA-256 and Maven coordinate.
# Resolved from {endpoints}.
# Written by `python -m steptrail.deploy.stack.lock_jars`; don't edit it by hand.
"""


def main() -> None:
    """Resolve the endpoints, download all jars once and record their hashes."""
    import jgo
    from jgo.maven import MavenContext

    lines: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=60)
        for endpoint in ENDPOINTS:
            for found in jgo.resolve(endpoint):
                artifact = (
                    context.project(found.groupId, found.artifactId).at_version(found.version).artifact()
                )
                coordinate = f"{found.groupId}:{found.artifactId}:{found.version}"
                lines[coordinate] = f"{sha256_of(Path(artifact.resolve()))}  {coordinate}"
    text = HEADER.format(endpoints=", ".join(ENDPOINTS)) + "".join(f"{lines[key]}\n" for key in sorted(lines))
    (Path(__file__).parent.parent / "jars.lock").write_text(text, encoding="utf-8")
    print(f"{len(lines)} jars locked")


if __name__ == "__main__":
    main()
