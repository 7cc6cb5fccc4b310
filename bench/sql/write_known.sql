-- The floor of a fill: the rows of offers that are known, in one statement. No lock, no check.
WITH pair AS (
    SELECT *
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::timestamptz[])
        AS pair (slot_id, entry_id, score, expires_at)
),
hold AS (
    INSERT INTO waitlist_hold (
        tenant_id, facility_id, entry_id, slot_id, patient_id, period, status, score, source,
        offered_at, expires_at
    )
    SELECT
        slot.tenant_id, slot.facility_id, entry.id, slot.id, entry.patient_id, slot.period, 'offered',
        pair.score, 'scan', $5, pair.expires_at
    FROM pair
    JOIN waitlist_waitlistentry AS entry ON entry.id = pair.entry_id
    JOIN scheduling_slot AS slot ON slot.id = pair.slot_id
    RETURNING id, tenant_id, facility_id, entry_id, slot_id, score, source, expires_at
),
offered AS (
    UPDATE waitlist_waitlistentry AS entry
    SET status = 'offered'
    FROM pair
    WHERE entry.id = pair.entry_id
),
held AS (
    UPDATE scheduling_slot AS slot
    SET status = 'held'
    FROM hold
    WHERE slot.id = hold.slot_id
    RETURNING hold.*, slot.provider_id
)
INSERT INTO audit_event (
    tenant_id, kind, subject_type, subject_id, actor_type, actor_id, entry_id, hold_id, slot_id,
    facility_id, provider_id, previous_status, new_status, data, at
)
SELECT
    tenant_id, 'waitlist.hold_offered', 'hold', id, 'system', NULL, entry_id, id, slot_id, facility_id,
    provider_id, NULL, 'offered',
    jsonb_build_object('source', source, 'score', score, 'expires_at', expires_at), $5
FROM held
