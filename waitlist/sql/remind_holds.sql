-- Note that live holds are to be reminded: the policy's lead, at most half the hold, before the end.
-- Locks the holds, by id, skipping locked ones.
WITH due AS (
    SELECT hold.id
    FROM waitlist_hold AS hold
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = hold.facility_id
    WHERE hold.status = 'offered'
        AND hold.reminded_at IS NULL
        AND hold.expires_at > %(now)s
        AND hold.expires_at - least(
            policy.reminder_lead, (hold.expires_at - hold.offered_at) / 2
        ) <= %(now)s
        AND policy.reminder_lead IS NOT NULL
    ORDER BY hold.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF hold SKIP LOCKED
),
reminded AS (
    UPDATE waitlist_hold AS hold
    SET reminded_at = %(now)s
    FROM due
    WHERE hold.id = due.id AND hold.status = 'offered' AND hold.reminded_at IS NULL
    RETURNING hold.*
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, entry_id, hold_id, slot_id,
        facility_id, provider_id, previous_status, new_status, data, at
    )
    SELECT
        reminded.tenant_id, 'waitlist.hold_reminded', 'hold', reminded.id, 'system',
        reminded.entry_id, reminded.id, reminded.slot_id, reminded.facility_id, slot.provider_id,
        'offered', 'offered', jsonb_build_object('expires_at', reminded.expires_at), %(now)s
    FROM reminded
    LEFT JOIN scheduling_slot AS slot ON slot.id = reminded.slot_id
)
SELECT id FROM reminded
