"""The engine's configuration and its user's rights, written into the data's directory at each start.

The rights are an allow list: what is not granted (files, URLs, other servers, dictionaries, named collections, users,
SYSTEM SHUTDOWN …) the engine itself refuses, however the statement spells it, in views and defaults too. Backups go to
the disk `backups` alone, where the server was given a folder for it. The engine knows one user, `default`, with two
roles: everything above, and what the server's user `reader` may do; a reader's handle takes the second role alone
(reader.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from steptrail.deploy.engine.reader import ROLE
from steptrail.deploy.private_files import write_private

_OWNER = "steptrail_owner"

_RIGHTS = (
    "CHECK, SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, "
    "CREATE ARBITRARY TEMPORARY TABLE, CREATE FUNCTION, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, "
    "SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM DROP CACHE, INTROSPECTION, dictGet ON *.*"
)
ENGINES = (
    "MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "CollapsingMergeTree",
    "VersionedCollapsingMergeTree", "CoalescingMergeTree", "GraphiteMergeTree", "Memory", "Log", "TinyLog",
    "StripeLog", "Null", "Set", "Join", "Merge", "View", "MaterializedView", "GenerateRandom", "Atomic",
)  # fmt: skip
# Settings that name a file, an address or a parser, or whose value the engine parses as SQL.
FIXED_SETTINGS = (
    "dialect", "polyglot_dialect", "allow_experimental_eval_table_function", "additional_table_filters",
    "additional_result_filter", "filter", "parallel_replicas_custom_key", "implicit_table_at_top_level",
    "format_schema", "format_schema_source", "format_template_resultset", "format_template_row",
    "format_avro_schema_registry_url", "output_format_schema", "input_format_record_errors_file_path",
    "rename_files_after_processing", "url_base", "ai_function_text_default_credentials",
    "ai_function_embedding_default_credentials",
)  # fmt: skip

_BACKUP_RIGHTS = ("GRANT BACKUP ON *.*", "GRANT READ, WRITE ON DISK")
_BACKUP_DISK = "<backups><type>local</type><path>{path}/</path>{free}</backups>"
_BACKUP_CONFIG = "<backups><allowed_disk>backups</allowed_disk></backups>"
_CONFIG = """<clickhouse>
    <!-- Written at each start by steptrail's engine server. -->
    <storage_configuration><disks><default>
        <keep_free_space_bytes>{keep_free}</keep_free_space_bytes>
    </default>{backup_disk}</disks></storage_configuration>
    {backup_config}
    <max_server_memory_usage_to_ram_ratio>{memory_ratio}</max_server_memory_usage_to_ram_ratio>
    <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
    <access_control_improvements>
        <table_engines_require_grant>true</table_engines_require_grant>
    </access_control_improvements>
    <remote_url_allow_hosts></remote_url_allow_hosts>
    <custom_local_disks_base_directory>{disks}</custom_local_disks_base_directory>
</clickhouse>
"""
_USERS = """<clickhouse>
    <!-- Written at each start by steptrail's engine server. -->
    <profiles>
        <default><constraints>{fixed}</constraints></default>
        <{reader}><constraints>{fixed}{bounds}</constraints></{reader}>
    </profiles>
    <quotas><default/></quotas>
    <users><default>
        <password></password>
        <networks><ip>::/0</ip></networks>
        <profile>default</profile>
        <quota>default</quota>
        <grants><query>GRANT {owner}</query><query>GRANT {reader}</query></grants>
    </default></users>
    <roles>
        <{owner}><grants>{grants}</grants></{owner}>
        <{reader}><grants>{reads}</grants></{reader}>
    </roles>
</clickhouse>
"""


def write_config(
    path: Path,
    *,
    database: str,
    keep_free: int,
    memory_ratio: float,
    bounds: Mapping[str, int],
    backups: Path | None = None,
) -> Path:
    """Write the engine's configuration and its user's rights into its directory; returns the first file.

    `bounds` are the settings that a reader may not raise, with their largest value. `backups` is the folder of the disk
    for backups; without it there are none.
    """
    rights = [f"GRANT {_RIGHTS}", *(f"GRANT TABLE ENGINE ON {name}" for name in ENGINES)]
    rights.append("GRANT SET DEFINER ON *")
    free = f"<keep_free_space_bytes>{int(keep_free)}</keep_free_space_bytes>"
    backup_disk = backup_config = ""
    if backups is not None:
        rights += _BACKUP_RIGHTS
        backup_disk = _BACKUP_DISK.format(path=escape(str(backups)), free=free)
        backup_config = _BACKUP_CONFIG
    users, config = path / "engine-users.xml", path / "engine.xml"
    write_private(
        users,
        _USERS.format(
            fixed="".join(f"<{name}><const/></{name}>" for name in FIXED_SETTINGS),
            grants="".join(f"<query>{right}</query>" for right in rights),
            owner=_OWNER,
            reader=ROLE,
            reads=f"<query>{escape(f'GRANT SELECT ON {backquoted(database)}.*')}</query>",
            bounds="".join(
                f"<{name}><min>1</min><max>{most}</max></{name}>" for name, most in bounds.items()
            ),
        ),
    )
    write_private(
        config,
        _CONFIG.format(
            keep_free=int(keep_free),
            memory_ratio=escape(str(memory_ratio)),
            users=escape(str(users)),
            disks=escape(str(path / "disks")),
            backup_disk=backup_disk,
            backup_config=backup_config,
        ),
    )
    return config


def backquoted(name: str) -> str:
    """Return a name as SQL quotes it."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
