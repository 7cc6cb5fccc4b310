-- The first entries that wait for a facility, its own by rank, and whatever else the same people wait for
-- here: (id, whether it is one of the first). Takes no lock.
WITH first AS (
    SELECT id, patient_id
    FROM waitlist_waitlistentry
    WHERE facility_id = %(facility)s AND status = 'waiting'
    ORDER BY rank_key DESC, joined_at, id
    LIMIT %(limit)s
)
SELECT id::text, true FROM first
UNION
SELECT kin.id::text, kin.id IN (SELECT id FROM first)
FROM first
JOIN waitlist_waitlistentry AS kin
    ON kin.tenant_id = %(tenant)s AND kin.patient_id = first.patient_id AND kin.status = 'waiting'
WHERE kin.facility_id = %(facility)s OR kin.any_facility
