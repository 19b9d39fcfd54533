"""ClickHouse: migrations, staging, the ledger, the projections and the reader."""
