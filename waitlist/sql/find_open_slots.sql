-- Open slots of one facility that may be offered now, by start: (id). Takes no lock.
-- Left out: what begins too soon or too late, what overlaps a block or a claim of its provider, and
-- what was tried in vain and nothing changed since; and, where slots are given, all others.
SELECT slot.id::text
FROM scheduling_slot AS slot
JOIN scheduling_provider AS provider ON provider.id = slot.provider_id
WHERE slot.facility_id = %(facility)s
    AND slot.status = 'open'
    AND (%(slots)s::uuid[] IS NULL OR slot.id = ANY(%(slots)s::uuid[]))
    AND lower(slot.period) >= %(first)s
    AND lower(slot.period) > %(after)s
    AND lower(slot.period) <= %(last)s
    AND provider.is_active
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
        OFFSET 0  -- one probe for each slot, and never all claims at once
    )
    AND NOT EXISTS (
        SELECT FROM waitlist_fruitless AS fruitless
        WHERE fruitless.slot_id = slot.id
            AND fruitless.revision = %(revision)s
            AND fruitless.visitors_revision = %(visitors_revision)s
            AND fruitless.tried_at > %(now)s - interval '24 hours'
    )
ORDER BY lower(slot.period), slot.id
