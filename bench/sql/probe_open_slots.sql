-- The floor of a scan that finds nothing to do: one probe of an index for each facility.
SELECT policy.facility_id
FROM waitlist_waitlistpolicy AS policy
WHERE EXISTS (
    SELECT FROM scheduling_slot AS slot
    WHERE slot.facility_id = policy.facility_id
        AND slot.status = 'open'
        AND lower(slot.period) > %(now)s + policy.look_ahead
)
