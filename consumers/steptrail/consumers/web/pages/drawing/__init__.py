"""Drawings as SVG text, made on the server: pure functions from numbers to markup."""
