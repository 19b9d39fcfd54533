-- Bad endings of a span between two positions, the latest first: status and time lead into the projection p_by_time, and
-- the wide columns are only read for the rows that are shown. Whether each is what its step is in now is looked up after.
-- Endings that were certainly mended are left out: everything that happened since the earliest of them is read, and an
-- execution after whose last event another one of its step ran or ended is not the current one. Where more than `scanned`
-- events happened since then, none is left out here. Executions are told apart by one byte of their ids: where it is the
-- same for two, neither is left out for the sake of the other.
WITH (
    SELECT count()
    FROM
    (
        SELECT 1 FROM steps
        WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
          AND ({any_step:Bool} OR step_name = {step_name:String})
          AND timestamp >= fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
        LIMIT {scanned:UInt64} + 1
    )
) > {scanned:UInt64} AS too_many
SELECT
    pipeline, doc_id, step_name, status, toUnixTimestamp64Micro(timestamp) AS timestamp_us, event_id,
    toUUIDOrZero(rare_texts[1]) AS execution_id, duration_ms, error_type,
    substringUTF8(error_message, 1, {most:UInt32}) AS error_message, trace_id, worker
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND ({any_step:Bool} OR step_name = {step_name:String})
  AND status IN {statuses:Array(String)}
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND timestamp <= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND (timestamp < fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) < toUInt128({from_id:UUID}))
  AND timestamp >= fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND (timestamp > fromUnixTimestamp64Micro({to_us:Int64}, 'UTC') OR toUInt128(event_id) >= toUInt128({to_id:UUID}))
  AND (too_many OR toUInt128(event_id) IN
    (
        SELECT arrayJoin(arrayFlatten(arrayMap(
            run -> run.2,
            arrayFilter(run -> run.1 >= latest OR latest < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC'), runs))))
        FROM
        (
            SELECT max(execution.ran_at) AS latest, groupArray((execution.last_at, execution.bad)) AS runs
            FROM
            (
                SELECT
                    event.pipeline AS pipeline, event.step_name AS step_name, event.doc_id AS doc_id,
                    max(event.at)                                                                   AS last_at,
                    maxIf(event.at, event.status != 'PENDING')                                      AS ran_at,
                    groupArrayIf(toUInt128(event.event_id), event.status IN ('ERROR', 'FAILED'))    AS bad
                FROM
                (
                    SELECT
                        pipeline, step_name, doc_id, run, event_id, status,
                        least(timestamp, toDateTime64(broker_time, 6, 'UTC')) AS at
                    FROM steps
                    WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
                      AND ({any_step:Bool} OR step_name = {step_name:String})
                      AND timestamp >= fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
                    LIMIT {scanned:UInt64}
                ) AS event
                GROUP BY event.pipeline, event.step_name, event.doc_id, event.run
            ) AS execution
            GROUP BY execution.pipeline, execution.step_name, execution.doc_id
            HAVING arrayExists(run -> notEmpty(run.2), runs)
        )
    ))
ORDER BY timestamp DESC, toUInt128(event_id) DESC
