-- Note that nobody fits these slots, and what the queue was like when that was found out.
-- Locks the notes it writes; the caller has locked the slots.
INSERT INTO waitlist_fruitless (tenant_id, slot_id, tried_at, revision, visitors_revision)
SELECT tenant_id, id, %(now)s, %(revision)s, %(visitors_revision)s
FROM scheduling_slot
WHERE id = ANY(%(slots)s::uuid[])
ORDER BY id
ON CONFLICT (slot_id) DO UPDATE SET
    tried_at = excluded.tried_at,
    revision = excluded.revision,
    visitors_revision = excluded.visitors_revision
