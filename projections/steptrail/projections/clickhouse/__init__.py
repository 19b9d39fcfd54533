"""ClickHouse: the connection, its errors, migrations, named queries."""
