from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steptrail.deploy.stack import jars
from steptrail.deploy.stack.jars import (
    JarDownloadError,
    JarMismatchError,
    LockedJar,
    ensure_jars,
    locked_jars,
    parse_lock,
)

CONTENT = b"not really a jar"
JAR = LockedJar(hashlib.sha256(CONTENT).hexdigest(), "org.example:thing:1.0")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository on loopback, holding one jar and its SHA-1; returns the jar's file."""
    root = tmp_path / "repository"
    served = root / "org/example/thing/1.0/thing-1.0.jar"
    served.parent.mkdir(parents=True)
    put(served, CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("STEPTRAIL_MAVEN_REPOSITORY", f"http://127.0.0.1:{server.server_port}/")
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def put(served: Path, content: bytes) -> None:
    served.write_bytes(content)
    served.with_name(served.name + ".sha1").write_text(hashlib.sha1(content).hexdigest())


def test_the_shipped_lock_is_whole() -> None:
    """The lock names the broker of the stated release, an slf4j binding, and no jar twice."""
    locked = locked_jars()
    coordinates = [jar.coordinate for jar in locked]
    assert set(jars.ENDPOINTS) <= set(coordinates)
    assert len({jar.filename for jar in locked}) == len(locked) >= 40
    assert len({jar.sha256 for jar in locked}) == len(locked)


@pytest.mark.parametrize(
    "line", ["abc  a:b:1", "0" * 64 + " a:b:1", "0" * 64 + "  a:b", "G" * 64 + "  a:b:1", "only words"]
)
def test_a_bad_lock_line_is_refused(line: str) -> None:
    """A line of another shape is an error that names it, never a jar left out."""
    with pytest.raises(ValueError, match="line 2 of the lock"):
        parse_lock(f"# a comment\n{line}\n")


def test_a_missing_jar_is_downloaded_once(repository: Path, tmp_path: Path) -> None:
    """The first call downloads and says so; the next needs no repository."""
    said: list[str] = []
    (path,) = ensure_jars([JAR], cache=tmp_path / "cache", say=said.append)
    assert path.read_bytes() == CONTENT
    assert len(said) == 1
    repository.unlink()
    assert ensure_jars([JAR], cache=tmp_path / "cache", say=said.append) == [path]
    assert len(said) == 1


def test_a_download_with_another_hash_is_thrown_away(repository: Path, tmp_path: Path) -> None:
    """What a repository serves instead of the locked jar never reaches the cache."""
    put(repository, b"something else")
    with pytest.raises(
        JarMismatchError, match=rf"org\.example:thing:1\.0 has SHA-256 .* lock says {JAR.sha256}"
    ):
        ensure_jars([JAR], cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.suffix == ".jar"] == []


def test_a_cached_jar_with_another_hash_is_refused(tmp_path: Path) -> None:
    """A jar that was changed in the cache is named and refused, not used and not silently replaced."""
    path = tmp_path / f"kafka-{jars.KAFKA_VERSION}" / JAR.filename
    path.parent.mkdir()
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(JarMismatchError, match="Delete the file to download it again"):
        ensure_jars([JAR], cache=tmp_path)
    assert path.read_bytes() == CONTENT + b"!"


def test_an_absent_jar_is_said(repository: Path, tmp_path: Path) -> None:
    """A jar that the repository lacks is an error with its coordinate and what to do."""
    lost = LockedJar(JAR.sha256, "org.example:lost:1.0")
    with pytest.raises(JarDownloadError, match=r"org\.example:lost:1\.0 could not be downloaded"):
        ensure_jars([JAR, lost], cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob(".download-*"))


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute XDG_CACHE_HOME is used, a relative one is ignored as the specification says."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert jars.cache_dir() == Path("/somewhere/cache/steptrail")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert jars.cache_dir() == Path.home() / ".cache" / "steptrail"
