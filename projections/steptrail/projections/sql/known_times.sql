-- Between which times of the broker's events are there; answered from the parts' own bounds, without reading a row.
SELECT
    toUnixTimestamp64Milli(min(broker_time)) * 1000 AS oldest_us,
    toUnixTimestamp64Milli(max(broker_time)) * 1000 AS newest_us
FROM steps
LIMIT {fetch:UInt64}
