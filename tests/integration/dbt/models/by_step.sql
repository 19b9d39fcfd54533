{{ config(materialized='view') }}
SELECT step, count() AS rows FROM {{ ref('source_rows') }} GROUP BY step
