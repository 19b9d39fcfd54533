"""SVG elements as safe markup."""

from __future__ import annotations

from markupsafe import Markup, escape


def element(name: str, *children: str, **attributes: object) -> Markup:
    """`<name attribute="value">children</name>`; everything that is not Markup is escaped.

    An attribute's underscores become hyphens; `class_` is `class`; None leaves an attribute out.
    """
    written = "".join(
        f' {escape(key.rstrip("_").replace("_", "-"))}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")  # noqa: S704 - each part is escaped above


def _text(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
