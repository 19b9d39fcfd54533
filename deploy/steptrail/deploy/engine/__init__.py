"""The ClickHouse engine (chDB) behind ClickHouse's HTTP interface, as a process of its own.

`python -m steptrail.deploy.engine --help` says how to start it. Clients such as clickhouse-connect,
`@clickhouse/client` and curl speak to it as to any ClickHouse server, so the rest of steptrail knows one store:
ClickHouse over HTTP. Nothing here is imported before it is needed: the engine itself is 500 MB of library.
"""
