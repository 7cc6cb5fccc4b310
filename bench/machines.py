"""The machine that was measured on, in the words of the docs."""

import os
import platform
from pathlib import Path

from django.db import connection

#: Settings of PostgreSQL that differ and say nothing about how fast it is.
IDLE_SETTINGS = {
    "application_name", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone",
    "default_text_search_config", "lc_messages", "lc_monetary", "lc_numeric", "lc_time",
    "listen_addresses", "log_timezone", "unix_socket_directories", "unix_socket_permissions",
}  # fmt: skip


def describe() -> list[str]:
    """Say what the processor, the memory, the versions and the server's own settings are."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        [version] = cursor.fetchone()
        cursor.execute(
            "SELECT name, current_setting(name) FROM pg_settings"
            " WHERE source NOT IN ('default', 'override', 'client')"
            " AND setting IS DISTINCT FROM boot_val ORDER BY name"
        )
        given = [f"{name} = {value}" for name, value in cursor if name not in IDLE_SETTINGS]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return [
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GB of memory.",
        f"PostgreSQL {version}, Python {platform.python_version()}.",
        f"Settings that differ from PostgreSQL's defaults: {', '.join(given) or 'none'}.",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()
