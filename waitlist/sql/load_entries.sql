-- The patients who wait for a facility, or the given ones of them, or up to a limit the first of its own,
-- in the order of its runs: its own by rank, then visitors by joining. Times in microseconds since 1970,
-- days as "135". Takes no lock.
SELECT
    entry.id::text, entry.version, entry.patient_id::text, entry.facility_id <> %(facility)s AS visitor,
    entry.service_id::text, entry.provider_id::text, entry.provider_required,
    array_to_string(entry.preferred_days, ''), entry.preferred_time,
    (extract(epoch FROM entry.earliest) * 1000000)::bigint,
    (extract(epoch FROM entry.latest) * 1000000)::bigint,
    CASE
        WHEN entry.expires_at <= %(now)s THEN 'entry_expired'
        WHEN queue.is_closed THEN 'queue_closed'
        WHEN entry.offers_made >= queue.max_offers_per_entry THEN 'offers_used_up'
    END
FROM (
    -- All who wait here, or the first of them.
    (
        SELECT *
        FROM waitlist_waitlistentry
        WHERE CASE WHEN patient_id IS NOT NULL THEN facility_id END = %(facility)s
            AND status = 'waiting'
            AND %(entries)s::uuid[] IS NULL
        ORDER BY rank_key DESC, joined_at, id
        LIMIT %(limit)s
    )
    UNION ALL
    SELECT *
    FROM waitlist_waitlistentry
    WHERE tenant_id = %(tenant)s AND any_facility AND status = 'waiting'
        AND facility_id <> %(facility)s
        AND %(entries)s::uuid[] IS NULL AND %(limit)s::int IS NULL
    UNION ALL
    SELECT *
    FROM waitlist_waitlistentry
    WHERE id = ANY(%(entries)s::uuid[])
        AND status = 'waiting'
        AND (facility_id = %(facility)s OR tenant_id = %(tenant)s AND any_facility)
) AS entry
JOIN (
    SELECT
        queue.facility_id, policy.max_offers_per_entry,
        queue.deactivated_at IS NOT NULL OR NOT facility.is_active AS is_closed
    FROM waitlist_queue AS queue
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = queue.facility_id
    JOIN scheduling_facility AS facility ON facility.id = queue.facility_id
    WHERE queue.tenant_id = %(tenant)s
    OFFSET 0
) AS queue ON queue.facility_id = entry.facility_id
WHERE entry.patient_id IS NOT NULL
ORDER BY
    visitor, CASE WHEN entry.facility_id = %(facility)s THEN entry.rank_key END DESC,
    entry.joined_at, entry.id
