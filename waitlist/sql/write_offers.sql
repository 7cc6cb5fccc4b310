-- Offer slots to entries, from pairs already chosen: holds, entries, slots and events in one statement.
-- An entry that somebody has locked or changed since it was read, or whose patient got an overlapping
-- offer meanwhile, costs its one offer and not the batch. Holds are inserted in the order of the
-- patients, over whom alone two runs can meet here, so that they never wait for each other in a ring.
-- The time to answer runs from %(start)s, which the events tell if it is later than now.
-- The caller has locked the providers and the slots; locks the entries, by id, skipping locked ones.
WITH pair AS (
    SELECT *
    FROM unnest(
        %(slots)s::uuid[], %(entries)s::uuid[], %(versions)s::bigint[], %(scores)s::int[],
        %(deadlines)s::timestamptz[]
    ) AS pair (slot_id, entry_id, version, score, expires_at)
),
entry AS (
    SELECT entry.id, entry.tenant_id, entry.patient_id
    FROM waitlist_waitlistentry AS entry
    JOIN pair ON pair.entry_id = entry.id
    WHERE entry.status = 'waiting' AND entry.version = pair.version
    ORDER BY entry.id
    FOR NO KEY UPDATE OF entry SKIP LOCKED
),
hold AS (
    INSERT INTO waitlist_hold (
        tenant_id, facility_id, entry_id, slot_id, patient_id, period, status, score, source,
        offered_at, expires_at
    )
    SELECT
        entry.tenant_id, slot.facility_id, entry.id, slot.id, entry.patient_id, slot.period,
        'offered', pair.score,
        CASE
            WHEN %(source)s = 'scan' AND EXISTS (
                SELECT FROM waitlist_hold AS earlier WHERE earlier.slot_id = slot.id
            ) THEN 'cascade'
            ELSE %(source)s
        END,
        %(now)s, pair.expires_at
    FROM pair
    JOIN entry ON entry.id = pair.entry_id
    JOIN scheduling_slot AS slot ON slot.id = pair.slot_id AND slot.status = 'open'
    ORDER BY entry.patient_id
    ON CONFLICT DO NOTHING
    RETURNING id, tenant_id, facility_id, entry_id, slot_id, score, source, expires_at
),
offered AS (
    UPDATE waitlist_waitlistentry AS entry
    SET status = 'offered'
    FROM hold
    WHERE entry.id = hold.entry_id AND entry.status = 'waiting'
),
held AS (
    UPDATE scheduling_slot AS slot
    SET status = 'held'
    FROM hold
    WHERE slot.id = hold.slot_id AND slot.status = 'open'
    RETURNING hold.*, slot.provider_id
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, actor_id, entry_id, hold_id,
        slot_id, facility_id, provider_id, previous_status, new_status, data, at
    )
    SELECT
        tenant_id, 'waitlist.hold_offered', 'hold', id, %(actor_type)s, %(actor_id)s::uuid, entry_id,
        id, slot_id, facility_id, provider_id, NULL, 'offered',
        jsonb_strip_nulls(jsonb_build_object(
            'source', source, 'score', score, 'expires_at', expires_at,
            'runs_from', nullif(%(start)s::timestamptz, %(now)s::timestamptz)
        )),
        %(now)s
    FROM held
)
SELECT entry_id::text, id FROM hold
