-- Live holds whose slots a time block overlaps. Takes no lock.
SELECT hold.id
FROM waitlist_hold AS hold
JOIN scheduling_slot AS slot ON slot.id = hold.slot_id
WHERE hold.status = 'offered'
    AND EXISTS (
        SELECT FROM scheduling_timeblock AS block
        WHERE block.facility_id = slot.facility_id
            AND (block.provider_id IS NULL OR block.provider_id = slot.provider_id)
            AND block.period && slot.period
    )
ORDER BY hold.id
LIMIT %(limit)s
