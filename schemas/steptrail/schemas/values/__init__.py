"""Normalises callers' values to what JSON and ClickHouse can hold, at a bounded cost."""
