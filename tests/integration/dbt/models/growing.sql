{{ config(materialized='incremental', unique_key='id', order_by='id', engine='MergeTree()') }}
SELECT id, step FROM {{ ref('source_rows') }}
{% if is_incremental() %} WHERE id > (SELECT max(id) FROM {{ this }}) {% endif %}
