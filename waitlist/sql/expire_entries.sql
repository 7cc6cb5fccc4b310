-- End waiting entries whose time is over. Locks them, by id, skipping locked ones.
WITH due AS (
    SELECT id
    FROM waitlist_waitlistentry
    WHERE status = 'waiting' AND expires_at <= %(now)s
    ORDER BY id
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
),
expired AS (
    UPDATE waitlist_waitlistentry AS entry
    SET status = 'expired', closed_at = %(now)s
    FROM due
    WHERE entry.id = due.id AND entry.status = 'waiting'
    RETURNING entry.*
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, entry_id, facility_id, provider_id,
        previous_status, new_status, data, at
    )
    SELECT
        tenant_id, 'waitlist.auto_expired', 'entry', id, 'system', id, facility_id, provider_id,
        'waiting', 'expired', jsonb_build_object('reason', 'time_over'), %(now)s
    FROM expired
)
SELECT id FROM expired
