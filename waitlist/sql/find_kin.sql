-- The first patients' entries that wait for a facility, its own by rank, or the given ones, and whatever
-- else the same people wait for here: (id, whether it is one of those). Takes no lock.
WITH first AS (
    (
        SELECT id, patient_id
        FROM waitlist_waitlistentry
        WHERE CASE WHEN patient_id IS NOT NULL THEN facility_id END = %(facility)s
            AND status = 'waiting'
            AND %(entries)s::uuid[] IS NULL
        ORDER BY rank_key DESC, joined_at, id
        LIMIT %(limit)s
    )
    UNION ALL
    SELECT id, patient_id
    FROM waitlist_waitlistentry
    WHERE id = ANY(%(entries)s::uuid[])
)
SELECT id::text, true FROM first
UNION
SELECT kin.id::text, kin.id IN (SELECT id FROM first)
FROM first
JOIN waitlist_waitlistentry AS kin
    ON kin.tenant_id = %(tenant)s AND kin.patient_id = first.patient_id AND kin.status = 'waiting'
WHERE kin.facility_id = %(facility)s OR kin.any_facility
