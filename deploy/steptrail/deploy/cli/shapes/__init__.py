"""What `--json` of each command writes, as JSON Schema (draft 2020-12), derived from the types that it is made of."""
