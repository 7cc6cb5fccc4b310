-- End waiting entries that were asked whether they still wait and did not answer in time.
-- Locks them, by id, skipping locked ones.
WITH due AS (
    SELECT entry.id
    FROM waitlist_waitlistentry AS entry
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = entry.facility_id
    WHERE entry.status = 'waiting'
        -- What was said before they were asked is no answer.
        AND (entry.nudge_answered_at < entry.nudged_at) IS NOT FALSE
        AND entry.nudged_at + policy.nudge_grace <= %(now)s
    ORDER BY entry.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF entry SKIP LOCKED
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
        'waiting', 'expired', jsonb_build_object('reason', 'nudge_unanswered'), %(now)s
    FROM expired
)
SELECT id FROM expired
