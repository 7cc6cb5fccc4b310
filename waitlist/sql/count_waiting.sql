-- How many wait for a facility, its own and visitors, counted no further than the limit. No lock.
SELECT count(*)
FROM (
    SELECT FROM waitlist_waitlistentry
    WHERE facility_id = %(facility)s AND status = 'waiting'
    UNION ALL
    SELECT FROM waitlist_waitlistentry
    WHERE tenant_id = %(tenant)s AND any_facility AND status = 'waiting'
        AND facility_id <> %(facility)s
    LIMIT %(limit)s
) AS waiting
