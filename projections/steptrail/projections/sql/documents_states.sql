-- How some documents are: the state of each step, and each document's latest event before a time.
-- The documents come as two arrays of one length.
SELECT
    document.pipeline AS pipeline, document.doc_id AS doc_id, document.steps AS steps,
    document.updated_us AS updated_us, event.first_us AS first_us, event.latest.1 AS latest_us, event.latest.3 AS latest_id,
    event.events AS events
FROM
(
    SELECT
        state.pipeline AS pipeline, state.doc_id AS doc_id, toUnixTimestamp64Micro(max(state.updated_at)) AS updated_us,
        arraySort(s -> (s.3, s.1), groupArray((toString(state.step_name), toString(state.status), toUnixTimestamp64Micro(ifNull(state.started_at, state.updated_at))))) AS steps
    FROM step_state AS state
    WHERE (state.pipeline, state.doc_id) IN
        (
            SELECT d.1, d.2 FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {docs:Array(String)})) AS d)
        )
    GROUP BY state.pipeline, state.doc_id
) AS document
INNER JOIN
(
    SELECT
        pipeline, doc_id, toUnixTimestamp64Micro(min(timestamp)) AS first_us, uniqExact(event_id) AS events,
        maxIf((toUnixTimestamp64Micro(timestamp), toUInt128(event_id), event_id), timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')) AS latest
    FROM steps
    WHERE (pipeline, doc_id) IN
        (
            SELECT d.1, d.2 FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {docs:Array(String)})) AS d)
        )
    GROUP BY pipeline, doc_id
) AS event ON event.pipeline = document.pipeline AND event.doc_id = document.doc_id
SETTINGS optimize_use_projections = 0  -- the primary key it is
