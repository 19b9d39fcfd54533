"""Content-Encoding both ways: gzip, deflate, lz4, zstd, and br where the `brotli` module is there.

Clients send several concatenated frames in one body (clickhouse-connect one for each block): all are decoded.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame
import zstandard

from steptrail.deploy.engine.errors import EngineError

# What a call may inflate is not bounded by the libraries; by the slice it is: to some 30 MiB (zstd 32,768 to 1).
_SLICES = {"zstd": 1024, "br": 1024}
_SLICE = 16 * 1024
_GZIP, _ZLIB = 31, 15


class Encoder(Protocol):
    """Compresses a response piece by piece."""

    def encode(self, data: bytes) -> bytes:
        """Take bytes, return what is ready to be sent (possibly nothing)."""
        ...

    def finish(self) -> bytes:
        """Return the last bytes."""
        ...


class _Zlib:
    def __init__(self, window: int) -> None:
        # Level 1: a loopback peer waits for the processor, not for the wire.
        self._stream = zlib.compressobj(1, zlib.DEFLATED, window)

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Lz4:
    def __init__(self) -> None:
        self._stream: Any = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX256KB)
        self._head: bytes = self._stream.begin()

    def encode(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        packed: bytes = self._stream.compress(data)
        return head + packed if head else packed

    def finish(self) -> bytes:
        packed: bytes = self._stream.flush()
        return self._head + packed


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=1).compressobj()

    def encode(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Brotli:
    def __init__(self) -> None:
        self._stream = importlib.import_module("brotli").Compressor(quality=1)

    def encode(self, data: bytes) -> bytes:
        packed: bytes = self._stream.process(data)
        return packed

    def finish(self) -> bytes:
        packed: bytes = self._stream.finish()
        return packed


def _has_brotli() -> bool:
    try:
        importlib.import_module("brotli")
    except ImportError:
        return False
    return True


# In the order of preference where the client takes several: the cheapest first.
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _Lz4,
    "zstd": _Zstd,
    "gzip": lambda: _Zlib(_GZIP),
    "deflate": lambda: _Zlib(_ZLIB),
    **({"br": _Brotli} if _has_brotli() else {}),
}


def choose(accept_encoding: str) -> str | None:
    """Return the encoding for a response to this Accept-Encoding header, None for plain."""
    accepted = set()
    for item in accept_encoding.lower().split(","):
        name, _, quality = item.partition(";")
        if quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(name.strip())
    return next((name for name in _ENCODERS if name in accepted), None)


def encoder(name: str) -> Encoder:
    """Return an encoder of one of the names that `choose` gives."""
    return _ENCODERS[name]()


class Chain:
    """Two encoders, one behind the other."""

    def __init__(self, first: Encoder, second: Encoder) -> None:
        self._first, self.second = first, second

    def encode(self, data: bytes) -> bytes:
        """Take bytes, return what is ready to be sent."""
        return self.second.encode(self._first.encode(data))

    def finish(self) -> bytes:
        """Return the last bytes."""
        return self.second.encode(self._first.finish()) + self.second.finish()


class Decoder:
    """Decodes a request body that comes in pieces; raises EngineError for bytes that are not what was said.

    Frames may follow each other; a body that ends inside one is refused by `finish`.
    """

    def __init__(self, name: str) -> None:
        if name in ("", "identity"):
            raise ValueError("no decoder is needed for a plain body")
        if name not in ("gzip", "x-gzip", "deflate", "lz4", "zstd", "br"):
            raise EngineError(48, f"Unknown Content-Encoding '{name}': gzip, deflate, lz4 and zstd are taken")
        if name == "br" and not _has_brotli():
            raise EngineError(
                48, "Content-Encoding br needs the Python module brotli beside the engine server"
            )
        self._name = name
        self._frame: Any = None
        self._finished = False

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes decode to."""
        size = _SLICES.get(self._name, _SLICE)
        out = [self._step(data[i : i + size]) for i in range(0, len(data), size)]
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> None:
        """Say that the body has ended."""
        if self._frame is not None and not self._ended(self._frame):
            raise EngineError(89, f"The {self._name} body ends inside a frame: it was cut off")

    def _step(self, data: bytes) -> bytes:
        out: list[bytes] = []
        try:
            while data:
                if self._frame is None or self._ended(self._frame):
                    self._frame = self._new_frame(data)
                if self._name == "br":
                    out.append(self._frame.process(data))
                    break
                out.append(self._frame.decompress(data))
                data = self._frame.unused_data or b"" if self._ended(self._frame) else b""
        except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError, ValueError) as error:
            raise EngineError(89, f"The body is not valid {self._name}: {error}") from error
        except Exception as error:
            if type(error).__module__ != "brotli":
                raise
            raise EngineError(89, f"The body is not valid br: {error}") from error
        return out[0] if len(out) == 1 else b"".join(out)

    def _ended(self, frame: Any) -> bool:
        if self._name == "br":
            return bool(frame.is_finished())
        return bool(frame.eof)

    def _new_frame(self, data: bytes) -> Any:
        if self._name == "lz4":
            return lz4.frame.LZ4FrameDecompressor()
        if self._name == "zstd":
            return zstandard.ZstdDecompressor().decompressobj()
        if self._name == "br":
            return importlib.import_module("brotli").Decompressor()
        if self._name == "deflate":
            # Both meanings of "deflate" are met: zlib's (the standard's) and the raw stream.
            raw = (data[0] & 0x0F) != 8
            return zlib.decompressobj(-_ZLIB if raw else _ZLIB)
        return zlib.decompressobj(_GZIP)
