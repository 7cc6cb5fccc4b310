-- The first entries of a facility's queue that may fit one slot, with these matches or with any: (id),
-- in no order. One walk along the index, which stops at the limit: a walk for each service would read
-- to the end those of a service for whom the slot is nothing. The order is kept apart from what fits,
-- or the planner, who takes those who fit for few, would read all who wait and sort. Takes no lock.
SELECT entry.id::text
FROM (
    SELECT *
    FROM waitlist_waitlistentry
    WHERE facility_id = %(facility)s AND status = 'waiting'
    ORDER BY rank_key DESC, joined_at, id
    OFFSET 0
) AS entry
WHERE
    (service_id = ANY(%(services)s::uuid[]) OR service_id IS NULL AND %(unnamed)s)
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
