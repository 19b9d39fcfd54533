-- Executions of the steps that follow, each once, merged or not; the condition reaches the primary key.
        SELECT
            part.pipeline AS pipeline, part.step_name AS step_name, part.doc_id AS doc_id,
            part.execution_id AS execution_id, max(part.winner) AS winner, min(part.first_run) AS began,
            min(part.first_any) AS earliest_any, max(part.last_any) AS latest_any, max(part.attempt) AS attempt
        FROM step_executions AS part
        WHERE (part.pipeline, part.step_name, part.doc_id) IN
