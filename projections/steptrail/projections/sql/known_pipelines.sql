-- The pipelines of which an event, or a declaration of steps, is there.
SELECT pipeline FROM steps GROUP BY pipeline
UNION DISTINCT
SELECT pipeline FROM expected_steps_declarations GROUP BY pipeline
LIMIT {fetch:UInt64}
