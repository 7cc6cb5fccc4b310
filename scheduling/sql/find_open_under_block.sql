-- Coming open slots that a block overlaps, at one facility where it is given. Takes no lock.
SELECT slot.id
FROM scheduling_timeblock AS block
JOIN scheduling_slot AS slot
    ON slot.facility_id = block.facility_id
    AND (block.provider_id IS NULL OR block.provider_id = slot.provider_id)
    AND block.period && slot.period
WHERE slot.status = 'open'
    AND (%(facility)s::uuid IS NULL OR block.facility_id = %(facility)s)
    AND upper(block.period) > %(now)s
    AND lower(slot.period) > %(now)s
    AND lower(slot.period) < upper(block.period)
ORDER BY slot.id
LIMIT %(limit)s
