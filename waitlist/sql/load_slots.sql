-- Slots as a board takes them: (id, provider, service, start, end, weekday, part of day), the times in
-- microseconds since 1970, weekday and part of day local (domain.md). With `claimable`, those only that
-- are open, of an active provider, and that no block and no claim of theirs overlaps. Takes no lock.
SELECT
    slot.id::text, slot.provider_id::text, slot.service_id::text,
    (extract(epoch FROM lower(slot.period)) * 1000000)::bigint,
    (extract(epoch FROM upper(slot.period)) * 1000000)::bigint,
    extract(isodow FROM start.local)::text,
    CASE
        WHEN start.local::time < '12:00' THEN 'morning'
        WHEN start.local::time < '17:00' THEN 'afternoon'
        ELSE 'evening'
    END
FROM scheduling_slot AS slot
CROSS JOIN LATERAL (SELECT lower(slot.period) AT TIME ZONE %(timezone)s AS local) AS start
WHERE slot.id = ANY(%(slots)s::uuid[])
    AND (
        NOT %(claimable)s
        OR slot.status = 'open'
        AND EXISTS (
            SELECT FROM scheduling_provider AS provider
            WHERE provider.id = slot.provider_id AND provider.is_active
        )
        AND NOT EXISTS (
            SELECT FROM scheduling_timeblock AS block
            WHERE block.facility_id = slot.facility_id
                AND (block.provider_id IS NULL OR block.provider_id = slot.provider_id)
                AND block.period && slot.period
        )
        AND NOT EXISTS (
            SELECT FROM scheduling_slot AS claim
            WHERE claim.provider_id = slot.provider_id
                AND claim.period && slot.period
                AND claim.status IN ('reserved', 'held', 'booked')
        )
    )
