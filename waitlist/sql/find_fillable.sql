-- The given facilities as far as a pass may find something to do: they are active, a patient waits, at them
-- or for any facility, and an open slot begins neither too soon nor too late: (facility). Takes no lock.
SELECT policy.facility_id
FROM waitlist_waitlistpolicy AS policy
JOIN scheduling_facility AS facility ON facility.id = policy.facility_id AND facility.is_active
WHERE policy.facility_id = ANY(%(facilities)s)
    AND policy.auto_invite
    AND EXISTS (
        SELECT FROM scheduling_slot AS slot
        WHERE slot.facility_id = policy.facility_id
            AND slot.status = 'open'
            AND lower(slot.period) >= %(now)s + policy.min_notice + policy.min_hold
            AND lower(slot.period) <= %(now)s + policy.look_ahead
    )
    AND (
        EXISTS (
            SELECT FROM waitlist_waitlistentry AS entry
            WHERE CASE WHEN entry.patient_id IS NOT NULL THEN entry.facility_id END = policy.facility_id
                AND entry.status = 'waiting'
        )
        OR EXISTS (
            SELECT FROM waitlist_waitlistentry AS entry
            WHERE entry.tenant_id = policy.tenant_id
                AND entry.status = 'waiting'
                AND entry.any_facility
        )
    )
ORDER BY policy.facility_id
