"""The picture of docs/architecture.md, drawn from the imports: `.venv/bin/python tests/docs/architecture.py`.

A band is a root, a box a folder of it. An arrow says that one folder imports another of the same root; those that a
way over other arrows implies are left out. Between roots imports only go down, from band to band.
"""

from __future__ import annotations

from pathlib import Path

import grimp

PICTURE = Path(__file__).parents[2] / "docs/images/architecture.svg"
ROOTS = {
    "deploy": "what starts things",
    "consumers": "what runs",
    "projections": "ClickHouse: writing, counting, asking",
    "producers": "emission",
    "schemas": "the contract",
}
CLOSED = ("schemas",)  # one box each: their modules stand side by side
WIDTH = 860

_BOX, _HEIGHT, _GAP_Y, _MARGIN, _HEAD = 112, 32, 14, 16, 34

Arrow = tuple[str, str]


def arrows() -> set[Arrow]:
    """(importer, imported), between rooms; a room is `root` or `root.folder`. Raises ValueError if one goes up."""
    graph = grimp.build_graph(*(f"steptrail.{root}" for root in ROOTS), cache_dir=None)
    found: set[Arrow] = set()
    order = list(ROOTS)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            importer, target = _room(module, graph), _room(imported, graph)
            if importer is None or target is None or importer == target:
                continue
            if order.index(importer.split(".")[0]) > order.index(target.split(".")[0]):
                raise ValueError(f"{module} imports {imported}, which is above it")
            found.add((importer, target))
    return found


def _room(module: str, graph: grimp.ImportGraph) -> str | None:
    _, root, *rest = module.split(".")
    if root in CLOSED:
        return root
    folder = f"steptrail.{root}.{rest[0]}" if rest else ""
    if folder and graph.find_children(folder):
        return f"{root}.{rest[0]}"
    return None  # a module beside the folders is a door: it opens them


def reduced(pairs: set[Arrow]) -> set[Arrow]:
    """Without those that a way over other rooms implies."""
    return {
        (a, b) for a, b in pairs if not any(_reaches(c, b, pairs) for a2, c in pairs if a2 == a and c != b)
    }


def _reaches(start: str, goal: str, pairs: set[Arrow]) -> bool:
    seen, ahead = set(), [start]
    while ahead:
        room = ahead.pop()
        if room == goal:
            return True
        if room not in seen:
            seen.add(room)
            ahead.extend(b for a, b in pairs if a == room)
    return False


def columns(rooms: list[str], pairs: set[Arrow]) -> list[list[str]]:
    """Rooms of a band by column, the ground at the left: a room stands right of all that it imports."""
    place: dict[str, int] = {}

    def of(room: str, above: tuple[str, ...] = ()) -> int:
        if room in above:
            raise ValueError(f"imports go in a circle: {' -> '.join((*above, room))}")
        if room not in place:
            place[room] = 1 + max((of(b, (*above, room)) for a, b in pairs if a == room), default=-1)
        return place[room]

    found: list[list[str]] = [[] for _ in range(1 + max(map(of, rooms)))]
    for room in sorted(rooms):
        found[place[room]].append(room)
    return found


def draw(pairs: set[Arrow]) -> str:
    """The SVG; it brings its own light ground, so that it reads the same on any page."""
    bands, marks, top = [], [], float(_MARGIN)
    all_rooms = {room for pair in pairs for room in pair}
    for root, what in ROOTS.items():
        rooms = sorted(room for room in all_rooms if room.split(".")[0] == root)
        within = {(a, b) for a, b in pairs if a in rooms and b in rooms}
        standing = columns(rooms, within)
        tallest = max(len(column) for column in standing)
        body = tallest * _HEIGHT + (tallest - 1) * _GAP_Y
        place: dict[str, tuple[float, float]] = {}
        step = (WIDTH - 4 * _MARGIN - _BOX) / max(len(standing) - 1, 1)
        for number, column in enumerate(standing):
            tall = len(column) * _HEIGHT + (len(column) - 1) * _GAP_Y
            for row, room in enumerate(column):
                y = top + _HEAD + (body - tall) / 2 + row * (_HEIGHT + _GAP_Y)
                place[room] = (2 * _MARGIN + number * step, y)
        bands.append(
            f'<rect class="band {root}" x="{_MARGIN}" y="{top:g}" width="{WIDTH - 2 * _MARGIN}" '
            f'height="{_HEAD + body + 12:g}"/><text class="head" x="{2 * _MARGIN}" y="{top + 22:g}">'
            f'<tspan font-weight="600">{root}</tspan>  {what}</text>'
        )
        for a, b in sorted(reduced(within)):
            (x1, y1), (x2, y2) = place[a], place[b]
            x2, y1, y2 = x2 + _BOX, y1 + _HEIGHT / 2, y2 + _HEIGHT / 2
            bend = (x1 - x2) / 2
            marks.append(
                f'<path d="M{x1:g} {y1:g}C{x1 - bend:g} {y1:g} {x2 + bend:g} {y2:g} {x2 + 2:g} {y2:g}" '
                f'marker-end="url(#tip)"><title>{a} imports {b}</title></path>'
            )
        for room, (x, y) in sorted(place.items()):
            marks.append(
                f'<rect class="{root}" x="{x:g}" y="{y:g}" width="{_BOX}" height="{_HEIGHT}"/>'
                f'<text x="{x + _BOX / 2:g}" y="{y + 21:g}">{room.split(".")[-1]}</text>'
            )
        top += _HEAD + body + 12 + 10
    height = top - 10 + _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
            'aria-label="The five roots and which folder imports which" '
            'font-family="system-ui, sans-serif" font-size="13">',
            "<style>rect{rx:5;stroke-width:1.1}.band{fill-opacity:.35;stroke-opacity:.35}"
            ".schemas{fill:#e8eaf0;stroke:#5b6478}.producers{fill:#dff0e4;stroke:#2f7d4f}"
            ".projections{fill:#dfeaf8;stroke:#2b62a6}.consumers{fill:#fbeedb;stroke:#a3640f}"
            ".deploy{fill:#f3e4f4;stroke:#86408c}text{fill:#1c2230;text-anchor:middle}.head{text-anchor:start}"
            "path{fill:none;stroke:#6d7688;stroke-width:1.2}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#6d7688;stroke:none"/></marker></defs>',
            f'<rect x="0" y="0" width="{WIDTH}" height="{height:g}" fill="#fff"/>',
            *bands,
            *marks,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(arrows()), encoding="utf-8")
