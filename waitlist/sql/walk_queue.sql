-- The first patients of a facility's queue who have one of these wishes and want a date that the slot is
-- on: (id). One walk along the index for each wish, which stops at the limit. Takes no lock.
SELECT entry.id::text
FROM unnest(
    %(services)s::uuid[], %(providers)s::uuid[], %(required)s::boolean[], %(days)s::text[],
    %(times)s::text[]
) AS wish (service, provider, required, days, time)
CROSS JOIN LATERAL (
    SELECT id, rank_key, joined_at
    FROM waitlist_waitlistentry
    WHERE CASE WHEN patient_id IS NOT NULL THEN facility_id END = %(facility)s
        AND status = 'waiting'
        AND coalesce(service_id, '00000000-0000-0000-0000-000000000000') = wish.service
        AND coalesce(provider_id, '00000000-0000-0000-0000-000000000000') = wish.provider
        AND provider_required = wish.required
        AND preferred_days = string_to_array(wish.days, NULL)::smallint[]
        AND preferred_time = wish.time
        AND (earliest IS NULL OR earliest <= %(start)s)
        AND (latest IS NULL OR latest >= %(end)s)
    ORDER BY rank_key DESC, joined_at, id
    LIMIT %(limit)s
) AS entry
ORDER BY entry.rank_key DESC, entry.joined_at, entry.id
LIMIT %(limit)s
