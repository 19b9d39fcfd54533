"""multipart/form-data, as clients use it to upload tables and long parameters."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser

from steptrail.deploy.engine.errors import EngineError


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a multipart/form-data Content-Type, None for any other type."""
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        return None
    boundary = message.get_boundary()
    if not boundary:
        raise EngineError(36, "The multipart/form-data body has no boundary")
    return boundary.encode("latin-1")


def parse_form(body: bytes, boundary: bytes) -> tuple[list[tuple[str, str]], dict[str, bytes]]:
    """Return a form's plain fields and its files by field name; raises EngineError where it is cut off."""
    fields: list[tuple[str, str]] = []
    files: dict[str, bytes] = {}
    delimiter = b"--" + boundary
    position = body.find(delimiter)
    while position >= 0:
        position += len(delimiter)
        if body[position : position + 2] == b"--":
            return fields, files
        start = body.find(b"\r\n\r\n", position)
        end = body.find(b"\r\n" + delimiter, max(start, 0))
        if start < 0 or end < 0:
            break
        part = BytesHeaderParser().parsebytes(body[position:start].lstrip(b"\r\n") + b"\r\n\r\n")
        name = part.get_param("name", header="content-disposition")
        content = body[start + 4 : end]
        if isinstance(name, str):
            if part.get_filename() is not None:
                files[name] = content
            else:
                fields.append((name, content.decode("utf-8", "surrogateescape")))
        position = end + 2
    raise EngineError(36, "The multipart/form-data body is cut off")
