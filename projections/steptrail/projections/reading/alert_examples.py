"""Documents that an alert is about, for people to begin with: a few, the latest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from steptrail.projections.clickhouse.queries import Store, ask

MOST: Final = 3
WINDOW_S: Final = 3600
"""Documents of that long ago are no example of what is wrong now."""

_LIMITS: Final = {"max_execution_time": 5}

_RECENT = """
SELECT doc_id
FROM steps
WHERE pipeline = {pipeline:String}
  AND ({step:String} = '' OR step_name = {step:String})
  AND status IN {statuses:Array(String)}
  AND timestamp >= now64(6) - toIntervalSecond({window_s:UInt32})
GROUP BY doc_id
ORDER BY max(timestamp) DESC
LIMIT {most:UInt8}
"""

_SLOW = """
SELECT doc_id
FROM steps
WHERE pipeline = {pipeline:String}
  AND step_name = {step:String}
  AND status IN ('SUCCESS', 'WARNING')
  AND timestamp >= now64(6) - toIntervalSecond({window_s:UInt32})
  AND duration_ms IS NOT NULL
GROUP BY doc_id
ORDER BY max(duration_ms) DESC
LIMIT {most:UInt8}
"""

_STALLED = """
SELECT doc_id
FROM stall_state
WHERE pipeline = {pipeline:String}
  AND ({step:String} = '' OR step_name = {step:String})
  AND stands
GROUP BY doc_id
ORDER BY max(stalled_since) DESC
LIMIT {most:UInt8}
"""


def alert_examples(store: Store, kind: str, pipeline: str, step: str, group_id: str = "") -> tuple[str, ...]:
    """Up to three documents for an alert of this kind; none for a kind that is about no documents.

    Raises the store's errors; each question has 5 s.
    """
    if kind == "error_group":
        # Of each hour one with another message each: more than are needed, since one document may have several.
        rows = ask(store, "error_group_examples", {"group_id": group_id, "fetch": 4 * MOST})
        return tuple(dict.fromkeys(str(row["doc_id"]) for row in rows))[:MOST]
    sql = {"errors": _RECENT, "parts": _RECENT, "durations": _SLOW, "stalled": _STALLED}.get(kind)
    if sql is None or not pipeline:
        return ()
    parameters: Mapping[str, Any] = {
        "pipeline": pipeline,
        "step": step,
        "statuses": ["ERROR", "FAILED"],
        "window_s": WINDOW_S,
        "most": MOST,
    }
    used = {name: value for name, value in parameters.items() if "{" + name + ":" in sql}
    return tuple(str(row["doc_id"]) for row in store.rows(sql, used, _LIMITS))
