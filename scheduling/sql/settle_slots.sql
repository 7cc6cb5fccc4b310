-- Bring slots in line with what makes them: those of `stale` retire, those of `made` open again, or are
-- blocked where a block overlaps them, unless their provider is claimed meanwhile. Claimed ones keep
-- their status: they are marked to retire when their claim ends, or the mark is taken off. Write down each
-- slot that moved and return how many did, by new status and facility.
--
-- Locks: the slots, in order of id; the caller has the advisory lock of generation.
WITH due AS (
    SELECT id, false AS is_made FROM unnest(%(stale)s::uuid[]) AS id
    UNION ALL
    SELECT id, true FROM unnest(%(made)s::uuid[]) AS id
),
locked AS (
    SELECT slot.id, slot.facility_id, slot.provider_id, slot.period, slot.status, due.is_made
    FROM due
    JOIN scheduling_slot AS slot ON slot.id = due.id
    ORDER BY slot.id
    FOR NO KEY UPDATE OF slot
),
landing AS (
    SELECT
        locked.id,
        locked.status AS previous_status,
        CASE
            WHEN locked.status IN ('reserved', 'held', 'booked') THEN locked.status
            WHEN NOT locked.is_made THEN 'retired'
            WHEN locked.status <> 'retired' THEN locked.status
            WHEN EXISTS (
                SELECT
                FROM scheduling_slot AS claim
                WHERE claim.provider_id = locked.provider_id
                    AND claim.period && locked.period
                    AND claim.status IN ('reserved', 'held', 'booked')
            ) THEN 'retired'
            WHEN EXISTS (
                SELECT
                FROM scheduling_timeblock AS block
                WHERE block.facility_id = locked.facility_id
                    AND (block.provider_id IS NULL OR block.provider_id = locked.provider_id)
                    AND block.period && locked.period
            ) THEN 'blocked'
            ELSE 'open'
        END AS status,
        locked.status IN ('reserved', 'held', 'booked') AND NOT locked.is_made AS superseded
    FROM locked
),
changed AS (
    UPDATE scheduling_slot AS slot
    SET status = landing.status, superseded = landing.superseded
    FROM landing
    WHERE slot.id = landing.id
        AND slot.status = landing.previous_status
        AND (slot.status, slot.superseded) IS DISTINCT FROM (landing.status, landing.superseded)
    RETURNING
        slot.id, slot.tenant_id, slot.facility_id, slot.provider_id,
        landing.previous_status, slot.status
),
moved AS (
    SELECT * FROM changed WHERE status <> previous_status
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, actor_id,
        slot_id, facility_id, provider_id, previous_status, new_status, at
    )
    SELECT
        tenant_id, CASE status WHEN 'open' THEN 'slot.opened' ELSE 'slot.' || status END,
        'slot', id, %(actor_type)s, %(actor_id)s,
        id, facility_id, provider_id, previous_status, status, %(now)s
    FROM moved
)
SELECT status, facility_id, count(*)
FROM moved
GROUP BY status, facility_id
