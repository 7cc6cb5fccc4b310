-- How many patients wait for a facility, its own and visitors, counted no further than the limit. No lock.
SELECT count(*)
FROM (
    SELECT FROM waitlist_waitlistentry
    WHERE CASE WHEN patient_id IS NOT NULL THEN facility_id END = %(facility)s AND status = 'waiting'
    UNION ALL
    SELECT FROM waitlist_waitlistentry
    WHERE tenant_id = %(tenant)s AND any_facility AND status = 'waiting'
        AND facility_id <> %(facility)s
    LIMIT %(limit)s
) AS waiting
