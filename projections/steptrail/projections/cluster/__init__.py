"""ClickHouse clusters: which databases a layout has, and how partitions move between shards."""
