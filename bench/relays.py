"""Bench of the relay: events are numbered, and what each calls for is written."""

from collections.abc import Mapping

from django.db import connection, transaction

from audit import sql
from bench import databases, worlds
from bench.measures import WITHOUT_TRIGGERS, Result, Sample, median, peak, sample
from bench.worlds import NOW
from notifications import relay
from notifications.models import Message, WebhookDelivery
from notifications.tasks import LIMIT

#: What the relay writes, by the name that the floor reads it under.
TABLES = {
    "known_eventseq": "audit_eventseq",
    "known_message": "notifications_message",
    "known_webhookdelivery": "notifications_webhookdelivery",
}

Known = Mapping[str, list[bytes]]


def bench_relay(*, facilities: int, waiting: int, events: int, runs: int) -> Result:
    """Relay all events: against writing the same rows, one statement for each table."""
    ours: list[Sample] = []
    floor: list[Sample] = []
    bare: list[Sample] = []

    def build() -> None:
        worlds.make(facilities=facilities, slots=0, waiting=waiting)
        with connection.cursor() as cursor:
            cursor.execute(
                sql.text(app="bench", name="make_events"), {"events": events, "now": NOW}
            )

    with databases.world(build=build):
        for _ in range(runs + 1):
            with databases.copy():
                ours.append(sample(_relay))
                known = _known()
                written = {
                    "messages": Message.objects.count(),
                    "webhook deliveries": WebhookDelivery.objects.count(),
                }
            for samples in (floor, bare):
                with databases.copy():
                    _load(known)
                    if samples is bare:
                        databases.drop_triggers()
                    samples.append(sample(_write))
    del ours[0], floor[0], bare[0]  # what is planned and cached the first time is not counted
    return Result(
        bench="relay",
        sizes={"facilities": facilities, "events": events, "batch": LIMIT},
        seconds={"ours": median(ours), "floor": median(floor), "bare": median(bare)},
        targets={"to the floor": (median(ours) / median(floor), 3.0)},
        queries=ours[0].queries,
        peak_mb=peak(ours),
        found={
            "relayed": ours[0].value,
            **written,
            WITHOUT_TRIGGERS: round(median(ours) / median(bare), 3),
        },
    )


def _relay() -> int:
    """Do what the task does; return how many events were relayed."""
    total = 0
    while done := relay.relay(limit=LIMIT, now=NOW).events:
        total += done
    return total


def _known() -> Known:
    """Return what the relay wrote, as PostgreSQL copies rows."""
    return {name: list(_copied(table)) for name, table in TABLES.items()}


def _copied(table: str) -> list[bytes]:
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} TO STDOUT (FORMAT binary)") as rows,
    ):
        return [bytes(block) for block in rows]


def _load(known: Known) -> None:
    """Put the known rows where the floor reads them."""
    with connection.cursor() as cursor:
        for name, table in TABLES.items():
            cursor.execute(f"CREATE TABLE {name} (LIKE {table})")
            with cursor.copy(f"COPY {name} FROM STDIN (FORMAT binary)") as rows:
                for block in known[name]:
                    rows.write(block)
            cursor.execute(f"ANALYZE {name}")


@transaction.atomic
def _write() -> None:
    with connection.cursor() as cursor:
        for statement in sql.text(app="bench", name="write_deliveries").split(";"):
            cursor.execute(statement)
