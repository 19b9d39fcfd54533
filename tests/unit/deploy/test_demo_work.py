import configparser
import csv
import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from xml.parsers import expat

import pytest

from steptrail.deploy.demo import files, images, texts
from steptrail.deploy.demo.corpus import choose, kind_of
from steptrail.deploy.demo.damage import make_damaged
from steptrail.deploy.demo.files import Damaged, Unsuitable


def a_zip(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def a_tar(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return packed.getvalue()


def a_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "data", "kind", "promised"),
    [
        ("a.gz", gzip.compress(b"x", mtime=0), "gzip", "gzip"),
        ("a.whl", a_zip(a=b"x"), "zip", "zip"),
        ("a.tar", a_tar(a=b"x"), "tar", "tar"),
        ("a.png", a_png(1, 1), "png", "png"),
        ("a.png", b"<html>", "html", "png"),
        ("a.py", b"x = 1", "python", "python"),
        ("README", b"text", "text", ""),
        ("a.1", b".TH x", "manual", "manual"),
        ("a.html", b"<?xml version='1.0'?><a/>", "xml", "html"),
        ("a.txt", b"\x7fELF", "binary", ""),
        ("a.txt", b"a\x00b", "binary", ""),
        ("a.txt", "text".encode("utf-16"), "text", ""),
        ("a.py", b"", "empty", "python"),
    ],
)
def test_detect(name: str, data: bytes, kind: str, promised: str) -> None:
    """Content decides what a document is; the name says what was promised, and which text it is."""
    assert files.detect(name, data) == (kind, promised)


def test_read_leaves_out_what_is_too_large_or_no_file(tmp_path: Path) -> None:
    """Files past the limit and folders are unsuitable; a missing file is an error."""
    (tmp_path / "large").write_bytes(b"x" * (files.MAX_BYTES + 1))
    with pytest.raises(Unsuitable, match="too large"):
        files.read(str(tmp_path / "large"))
    with pytest.raises(Unsuitable, match="regular"):
        files.read(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        files.read(str(tmp_path / "none"))


def test_decompress() -> None:
    """What is packed comes out; what is cut is damaged; what unpacks to too much is unsuitable."""
    packed = gzip.compress(b"hello " * 100)
    assert files.decompress("gzip", packed) == b"hello " * 100
    with pytest.raises(Damaged, match="gzip"):
        files.decompress("gzip", packed[:-9])
    with pytest.raises(Unsuitable, match="more than"):
        files.decompress("gzip", gzip.compress(b"\x00" * (files.MAX_UNPACKED + 1)))


@pytest.mark.parametrize(("kind", "pack"), [("zip", a_zip), ("tar", a_tar)])
def test_unpack(kind: str, pack: "type[object]") -> None:
    """Archives give their members; too many are left out; bytes that are none are damaged."""
    assert files.unpack(kind, pack(a=b"one", b=b"two")) == [("a", b"one"), ("b", b"two")]  # type: ignore[arg-type,call-arg]
    with pytest.raises(Unsuitable, match="too many"):
        files.unpack(kind, pack(**{f"m{n}": b"" for n in range(files.MAX_MEMBERS + 1)}))  # type: ignore[arg-type]
    with pytest.raises(Damaged):
        files.unpack(kind, b"PK\x03\x04 this is neither a zip nor a tar, by any means" * 20)


def test_a_flipped_bit_in_a_zip_is_found() -> None:
    """A member's checksum is verified."""
    packed = bytearray(a_zip(a=b"stored without compression"))
    packed[packed.index(b"stored")] ^= 1
    with pytest.raises(Damaged, match="CRC"):
        files.unpack("zip", bytes(packed))


def test_images() -> None:
    """Sizes are read, checksums verified, and an image that ends early is damaged."""
    png = a_png(640, 480)
    assert images.measure_image("png", png) == {"width": 640, "height": 480, "chunks": 3}
    assert images.measure_image("gif", b"GIF89a" + struct.pack("<HH", 3, 4)) == {"width": 3, "height": 4}
    with pytest.raises(Damaged, match="checksum"):
        images.measure_image("png", png.replace(b"IDATx", b"IDATy"))
    for kind, data in (
        ("png", png[:40]),
        ("gif", b"GIF89a"),
        ("jpeg", b"\xff\xd8\xff"),
        ("jpeg", b"\xff\xd8ab12"),
    ):
        with pytest.raises(Damaged):
            images.measure_image(kind, data)


@pytest.mark.parametrize(
    ("kind", "data", "encoding"),
    [
        ("python", b"# -*- coding: latin-1 -*-\nx = '\xe4'", "iso-8859-1"),
        ("python", b"# -*- coding: nonsense -*-\n", "latin-1"),
        ("html", b'<meta charset="ISO-8859-15">', "ISO-8859-15"),
        ("xml", b"<?xml version='1.0' encoding='koi8-r'?>", "koi8-r"),
        ("xml", b"<?xml version='1.0' encoding='UTF-8'?>\xff", "latin-1"),
        ("text", b"\xff\xfex\x00", "utf-16"),
        ("text", b"\xe4", "latin-1"),
    ],
)
def test_declared_encoding(kind: str, data: bytes, encoding: str) -> None:
    """The second attempt takes the encoding that the document states, and never UTF-8 once more."""
    assert texts.declared_encoding(kind, data) == encoding


def test_words_and_their_counts() -> None:
    """Tags, scripts and manual requests are not words; short words do not count."""
    assert texts.to_text("html", "<p>one <b>two</b><script>three</script></p>").split() == ["one", "two"]
    assert texts.to_text("manual", ".TH NAME 1\nthe \\fBbold\\fR word").split() == ["the", "bold", "word"]
    assert texts.count_terms("The word, the WORD; it is 42 über_word") == {"the": 2, "word": 3, "über": 1}


@pytest.mark.parametrize(
    ("kind", "source", "counted"),
    [
        ("python", "def f(): pass\nclass C: pass", {"definitions": 2}),
        ("json", "[1, 2, 3]", {"items": 3}),
        ("xml", "<?xml version='1.0' encoding='koi8-r'?><a><b/>ä</a>", {"elements": 2}),
        ("csv", "a,b\n1,2\n", {"rows": 2}),
        ("config", "[a]\nx = 1", {"sections": 1}),
    ],
)
def test_parse(kind: str, source: str, counted: "dict[str, int]") -> None:
    """Each parser counts what it understood, and refuses what it does not."""
    assert texts.parse(kind, source) == counted
    with pytest.raises((SyntaxError, ValueError, csv.Error, configparser.Error, expat.ExpatError)):
        texts.parse(kind, '"(<\x00' if kind != "config" else "no section")


def test_the_same_documents_each_time(tmp_path: Path) -> None:
    """The choice is the same on the same files, has no document twice, and is as varied as they are."""
    for number in range(60):
        (tmp_path / f"{number}.py").write_text("x = 1")
        (tmp_path / f"{number}.png").write_bytes(a_png(1, 1))
    (tmp_path / "left.pyc").write_bytes(b"")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "notes.txt").write_text("notes")
    chosen = choose(50, [tmp_path, tmp_path / "inner"])
    assert chosen == choose(50, [tmp_path, tmp_path / "inner"])
    assert len(chosen) == len(set(chosen)) == 50
    assert {kind_of(path) for path in chosen} == {"python", "image", "text"}
    assert len(choose(1000, [tmp_path])) == 121


def test_damaged_copies(tmp_path: Path) -> None:
    """One of each sort comes first, the originals stay as they are, and the missing one is missing."""
    source = tmp_path / "source"
    source.mkdir()
    contents = {
        "a.txt": b"words and words " * 60,
        "a.py": b"x = [1,\n 2]\n" * 80,
        "a.gz": gzip.compress(random.Random(1).randbytes(2000)),
    }
    for name, content in contents.items():
        (source / name).write_bytes(content)
    originals = [str(source / name) for name in contents]
    made = make_damaged(originals, tmp_path / "damaged", 5)
    names = [Path(path).name for path in made]
    assert names == ["missing.txt", "old-encoding-a.txt", "unfinished-a.py", "enlarged-a.txt", "cut-a.gz"]
    assert not Path(made[0]).exists()
    assert all((source / name).read_bytes() == content for name, content in contents.items())
    with pytest.raises(UnicodeDecodeError):
        Path(made[1]).read_bytes().decode()
    with pytest.raises(SyntaxError):
        texts.parse("python", Path(made[2]).read_text())
    with pytest.raises(Unsuitable, match="too large"):
        files.read(made[3])
    with pytest.raises(Damaged):
        files.decompress("gzip", Path(made[4]).read_bytes())
    assert make_damaged(originals, tmp_path / "damaged", 0) == []
