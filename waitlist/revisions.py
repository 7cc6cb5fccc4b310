"""Revisions: the counters by which a queue tells that what was in vain is to be tried again.

Most changes lock the queue and count it on themselves (`queues.revise`). What happens below, or
with slots locked already, may not: triggers write it down as `Uncounted`, and the next scan counts
it.
"""

import pgtrigger

from audit import sql


def count() -> int:
    """Count queues on by what is uncounted, but for locked ones; return how many. Locks queue."""
    return len(sql.run(app="waitlist", name="count_revisions", params={}))


# Rows are tenant, facility, and what its three revisions go up by, the supply's last.
WRITE = """
INSERT INTO waitlist_uncounted (
    tenant_id, facility_id, revision, visitors_revision, supply_revision
)
<rows>;
RETURN NULL;
"""


def _on(*columns: str, when: str, rows: str) -> pgtrigger.Trigger:
    """Write rows for each row of which one of the columns changed, where it comes to that."""
    return pgtrigger.Trigger(
        name="revise",
        when=pgtrigger.After,
        operation=pgtrigger.UpdateOf(*columns),  # type: ignore[no-untyped-call]
        condition=pgtrigger.Condition(when),
        func=WRITE.replace("<rows>", rows),
    )


def _on_all(*, rows: str) -> pgtrigger.Trigger:
    """Write rows for all that a statement changed, which `was` has as they were."""
    return pgtrigger.Trigger(
        name="revise",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=pgtrigger.Update,
        referencing=pgtrigger.Referencing(old="was"),  # type: ignore[no-untyped-call]
        func=WRITE.replace("<rows>", rows),
    )


# What a claim hides is its provider's, wherever they work.
SLOT = _on_all(
    rows="""
SELECT DISTINCT place.tenant_id, place.facility_id, 0, 0, 1
FROM was
JOIN scheduling_slot AS slot
    ON slot.id = was.id AND slot.status NOT IN ('reserved', 'held', 'booked')
CROSS JOIN LATERAL (
    SELECT was.tenant_id, was.facility_id
    UNION ALL
    SELECT posting.tenant_id, posting.facility_id
    FROM scheduling_providerfacility AS posting
    WHERE posting.provider_id = was.provider_id
) AS place
WHERE was.status IN ('reserved', 'held', 'booked')
"""
)

BLOCK = pgtrigger.Trigger(
    name="revise",
    when=pgtrigger.After,
    operation=pgtrigger.Delete | pgtrigger.UpdateOf("period"),  # type: ignore[no-untyped-call]
    func=WRITE.replace("<rows>", "VALUES (OLD.tenant_id, OLD.facility_id, 0, 0, 1)"),
)

PROVIDER = _on(
    "is_active",
    when="NEW.is_active AND NOT OLD.is_active",
    rows="""
SELECT tenant_id, facility_id, 0, 0, 1
FROM scheduling_providerfacility
WHERE provider_id = NEW.id
""",
)

# Whoever waits is busy no longer, wherever they wait.
APPOINTMENT = _on(
    "status",
    "period",
    when="OLD.status = 'booked' AND (NEW.status <> 'booked' OR NEW.period <> OLD.period)",
    rows="""
SELECT tenant_id, facility_id, 1, max(any_facility::int), 0
FROM waitlist_waitlistentry
WHERE tenant_id = OLD.tenant_id AND patient_id = OLD.patient_id AND status = 'waiting'
GROUP BY tenant_id, facility_id
""",
)

# The queue of the entry that was offered something is locked, and counted on already.
HOLD = _on_all(
    rows="""
SELECT entry.tenant_id, entry.facility_id, 1, max(entry.any_facility::int), 0
FROM was
JOIN waitlist_hold AS hold
    ON hold.id = was.id AND hold.status NOT IN ('offered', 'accepted')
JOIN waitlist_waitlistentry AS entry
    ON entry.tenant_id = hold.tenant_id
    AND entry.patient_id = hold.patient_id
    AND entry.status = 'waiting'
    AND entry.id <> hold.entry_id
WHERE was.status = 'offered'
GROUP BY entry.tenant_id, entry.facility_id
"""
)

FACILITY = _on(
    "is_active",
    when="NEW.is_active AND NOT OLD.is_active",
    rows="VALUES (NEW.tenant_id, NEW.id, 1, 1, 0)",
)

SERVICE = _on(
    "duration",
    when="NEW.duration < OLD.duration",
    rows="""
SELECT tenant_id, facility_id, 1, 0, 0
FROM waitlist_queue
WHERE tenant_id = NEW.tenant_id
""",
)
