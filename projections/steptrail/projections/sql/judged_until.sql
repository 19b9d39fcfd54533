-- Up to when the health consumer has judged, and so counted minutes and error groups, by the broker's clock.
SELECT toInt64(toUnixTimestamp64Milli(assumeNotNull(watermark))) AS until_ms
FROM health_sight
WHERE isNotNull(watermark)
ORDER BY at DESC
LIMIT {fetch:UInt64}
