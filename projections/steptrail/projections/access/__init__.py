"""Who may do what in ClickHouse: the rights of each part, and the SQL that grants them."""
