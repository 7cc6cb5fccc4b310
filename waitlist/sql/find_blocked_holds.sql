-- Live holds whose slots a time block overlaps, at one facility where it is given, or of these holds.
-- Takes no lock.
SELECT hold.id
FROM waitlist_hold AS hold
JOIN scheduling_slot AS slot ON slot.id = hold.slot_id
WHERE hold.status = 'offered'
    AND (%(facility)s::uuid IS NULL OR slot.facility_id = %(facility)s)
    AND (%(holds)s::uuid[] IS NULL OR hold.id = ANY(%(holds)s))
    AND EXISTS (
        SELECT FROM scheduling_timeblock AS block
        WHERE block.facility_id = slot.facility_id
            AND (block.provider_id IS NULL OR block.provider_id = slot.provider_id)
            AND block.period && slot.period
    )
ORDER BY hold.id
LIMIT %(limit)s
