-- Note that live holds are to be reminded: the policy's lead, at most half the time to answer, before
-- the end; where that falls into quiet hours, before those begin, early enough for a sweep of every
-- five minutes, or when they end if it was not offered by then. The time to answer what staff offer in
-- quiet hours runs from when the event says. In a zone that PostgreSQL does not know there are none.
-- Locks the holds, by id, skipping locked ones.
WITH zone AS MATERIALIZED (
    SELECT name FROM pg_timezone_names
),
due AS (
    SELECT hold.id
    FROM waitlist_hold AS hold
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = hold.facility_id
    JOIN scheduling_facility AS facility ON facility.id = hold.facility_id
    LEFT JOIN zone ON zone.name = facility.timezone
    LEFT JOIN LATERAL (
        SELECT (event.data ->> 'runs_from')::timestamptz
        FROM audit_event AS event
        WHERE hold.source = 'staff'
            AND event.entry_id = hold.entry_id
            AND event.hold_id = hold.id
            AND event.kind = 'waitlist.hold_offered'
        LIMIT 1
    ) AS told (runs_from) ON TRUE
    CROSS JOIN LATERAL (SELECT coalesce(told.runs_from, hold.offered_at)) AS start (at)
    CROSS JOIN LATERAL (
        SELECT hold.expires_at - least(policy.reminder_lead, (hold.expires_at - start.at) / 2)
    ) AS wanted (at)
    CROSS JOIN LATERAL (SELECT wanted.at AT TIME ZONE zone.name) AS local (at)
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN policy.quiet_from < policy.quiet_until
                THEN local.at::time >= policy.quiet_from AND local.at::time < policy.quiet_until
            ELSE local.at::time >= policy.quiet_from OR local.at::time < policy.quiet_until
        END
    ) AS falls (into_quiet_hours)
    CROSS JOIN LATERAL (
        SELECT
            (local.at::date - (local.at::time < policy.quiet_from)::int + policy.quiet_from)
                AT TIME ZONE zone.name - interval '10 minutes',
            (local.at::date + (local.at::time >= policy.quiet_until)::int + policy.quiet_until)
                AT TIME ZONE zone.name
    ) AS quiet (evening, morning)
    WHERE hold.status = 'offered'
        AND hold.reminded_at IS NULL
        AND hold.expires_at > %(now)s
        AND policy.reminder_lead IS NOT NULL
        AND CASE
            WHEN falls.into_quiet_hours AND quiet.evening > start.at THEN quiet.evening
            WHEN falls.into_quiet_hours THEN quiet.morning
            ELSE wanted.at
        END <= %(now)s
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
