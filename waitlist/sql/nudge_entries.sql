-- Note that entries with flexible dates that have waited long are to be asked whether they still wait.
-- Locks them, by id, skipping locked ones.
WITH due AS (
    SELECT entry.id
    FROM waitlist_waitlistentry AS entry
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = entry.facility_id
    WHERE entry.status = 'waiting'
        AND entry.dates_flexible
        AND entry.nudged_at IS NULL
        AND entry.joined_at + policy.nudge_after <= %(now)s
    ORDER BY entry.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF entry SKIP LOCKED
),
nudged AS (
    UPDATE waitlist_waitlistentry AS entry
    SET nudged_at = %(now)s
    FROM due
    WHERE entry.id = due.id AND entry.status = 'waiting' AND entry.nudged_at IS NULL
    RETURNING entry.*
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, entry_id, facility_id, provider_id,
        previous_status, new_status, at
    )
    SELECT
        tenant_id, 'waitlist.still_interested', 'entry', id, 'system', id, facility_id, provider_id,
        'waiting', 'waiting', %(now)s
    FROM nudged
)
SELECT id FROM nudged
