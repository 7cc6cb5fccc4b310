-- Facilities that have a coming open slot and somebody who waits, at them or for any facility.
-- Takes no lock.
SELECT queue.facility_id
FROM waitlist_queue AS queue
JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = queue.facility_id
WHERE policy.auto_invite
    AND queue.deactivated_at IS NULL
    AND EXISTS (
        SELECT FROM scheduling_slot AS slot
        WHERE slot.facility_id = queue.facility_id
            AND slot.status = 'open'
            AND lower(slot.period) > %(now)s + policy.min_notice
            AND lower(slot.period) <= %(now)s + policy.look_ahead
    )
    AND (
        EXISTS (
            SELECT FROM waitlist_waitlistentry AS entry
            WHERE entry.facility_id = queue.facility_id AND entry.status = 'waiting'
        )
        OR EXISTS (
            SELECT FROM waitlist_waitlistentry AS entry
            WHERE entry.tenant_id = queue.tenant_id
                AND entry.status = 'waiting'
                AND entry.any_facility
        )
    )
ORDER BY queue.facility_id
