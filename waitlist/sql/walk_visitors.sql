-- As walk_queue.sql, of those who wait elsewhere in the tenant for any facility, by joining.
-- Takes no lock.
SELECT entry.id::text
FROM (
    SELECT *
    FROM waitlist_waitlistentry
    WHERE tenant_id = %(tenant)s AND any_facility AND status = 'waiting'
    ORDER BY joined_at, id
    OFFSET 0
) AS entry
WHERE
    facility_id <> %(facility)s
    AND (service_id = ANY(%(services)s::uuid[]) OR service_id IS NULL AND %(unnamed)s)
    AND (NOT provider_required OR provider_id = %(provider)s::uuid)
    AND (earliest IS NULL OR earliest <= %(start)s)
    AND (latest IS NULL OR latest >= %(end)s)
    AND (
        %(provider_matches)s::boolean IS NULL
        OR (provider_id IS NULL OR provider_id = %(provider)s::uuid) = %(provider_matches)s
    )
    AND (
        %(days_match)s::boolean IS NULL
        OR (
            (preferred_days = '{}' OR %(weekday)s = ANY(preferred_days))
            AND preferred_time IN ('any', %(part_of_day)s)
        ) = %(days_match)s
    )
LIMIT %(limit)s
