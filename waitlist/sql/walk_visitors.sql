-- As walk_queue.sql, of those who wait elsewhere in the tenant for any facility, by joining.
-- Takes no lock.
SELECT entry.id::text
FROM unnest(%(services)s::uuid[]) AS wanted (service)
CROSS JOIN LATERAL (
    SELECT id, joined_at
    FROM waitlist_waitlistentry
    WHERE tenant_id = %(tenant)s
        AND coalesce(service_id, '00000000-0000-0000-0000-000000000000') = wanted.service
        AND status = 'waiting'
        AND any_facility
        AND facility_id <> %(facility)s
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
    ORDER BY joined_at, id
    LIMIT %(limit)s
) AS entry
ORDER BY entry.joined_at, entry.id
LIMIT %(limit)s
