-- What each pipeline's documents should go through, and the declaration that says so; also those taken back.
WITH (declared.version, toUInt128(declared.declaration)) AS precedence
SELECT
    declared.pipeline                                                AS pipeline,
    argMax(declared.steps, precedence)                               AS steps,
    max(declared.version)                                            AS version,
    toUnixTimestamp64Milli(argMax(declared.declared_at, precedence)) AS declared_ms
FROM expected_steps_declarations AS declared
WHERE ({any_pipeline:Bool} OR declared.pipeline = {pipeline:String})
GROUP BY declared.pipeline
ORDER BY pipeline
