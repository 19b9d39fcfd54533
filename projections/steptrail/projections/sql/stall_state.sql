-- Every execution that is said to be stalled, and what became of it since.
SELECT
    -- include: stall_columns
FROM stall_state
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
ORDER BY toUInt128(execution_id)
