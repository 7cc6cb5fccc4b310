-- Places that are vacant as a whole and may be offered to somebody: of which nothing is offered, whose
-- queue is open and whose breaker is closed, and for which somebody waits. (facility). A venue whose
-- quiet hours it is, is among them. Takes no lock.
SELECT venue.facility_id
FROM availability_venueavailability AS venue
JOIN scheduling_facility AS facility ON facility.id = venue.facility_id AND facility.is_active
JOIN waitlist_queue AS queue ON queue.facility_id = venue.facility_id
JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = venue.facility_id
WHERE venue.vacant_since <= %(now)s
    AND queue.deactivated_at IS NULL
    AND policy.auto_invite
    AND EXISTS (
        SELECT
        FROM waitlist_waitlistentry AS entry
        WHERE entry.facility_id = venue.facility_id
            AND entry.status = 'waiting'
            AND entry.organizer_id IS NOT NULL
    )
    AND NOT EXISTS (
        SELECT
        FROM waitlist_hold AS hold
        WHERE hold.facility_id = venue.facility_id
            AND hold.status = 'offered'
            AND hold.slot_id IS NULL
    )
    AND NOT EXISTS (
        SELECT
        FROM waitlist_circuitbreaker AS breaker
        WHERE breaker.facility_id = venue.facility_id AND breaker.status <> 'resolved'
    )
ORDER BY venue.facility_id
