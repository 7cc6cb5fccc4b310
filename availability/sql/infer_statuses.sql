-- Say what the answers of the last 90 days make of each venue, and show it where nothing was set by
-- hand; a venue whose answers have all grown older is inferred anew, too. (venue, whether what is
-- shown changed, whether it got better) for each venue. Locks the venues, by id.
WITH counted AS MATERIALIZED (
    SELECT
        facility_id,
        count(*) FILTER (WHERE type = 'unavailable') AS unavailable,
        count(*) FILTER (WHERE type IN ('confirmed', 'tentative', 'unavailable')) AS answers
    FROM availability_signal
    WHERE recorded_at > %(since)s AND recorded_at <= %(now)s
    GROUP BY facility_id
),
venue AS (
    SELECT
        venue.facility_id, venue.tenant_id, venue.status,
        coalesce(venue.inferred_status, 'not_set') AS inferred,
        venue.manual_override_at IS NULL AS shows_it
    FROM availability_venueavailability AS venue
    WHERE venue.facility_id IN (SELECT facility_id FROM counted)
        OR venue.inferred_status <> 'not_set'
    ORDER BY venue.facility_id
    FOR NO KEY UPDATE
),
result AS (
    SELECT
        venue.*,
        CASE
            WHEN coalesce(counted.answers, 0) = 0 THEN 'not_set'
            WHEN counted.unavailable * 10 >= counted.answers * 8 THEN 'fully_booked'
            WHEN counted.unavailable * 2 >= counted.answers THEN 'limited_availability'
            ELSE 'accepting_events'
        END AS found
    FROM venue
    LEFT JOIN counted ON counted.facility_id = venue.facility_id
),
judged AS (
    SELECT
        result.*,
        shows_it AND found <> status AS changes,
        shows_it AND (
            (found = 'accepting_events' AND status <> 'accepting_events')
            OR (found = 'limited_availability' AND status = 'fully_booked')
        ) AS improves
    FROM result
),
shown AS (
    UPDATE availability_venueavailability AS venue
    SET
        inferred_status = judged.found,
        last_inferred_at = %(now)s,
        status = CASE WHEN judged.changes THEN judged.found ELSE venue.status END,
        vacant_since = CASE
            WHEN judged.improves THEN coalesce(venue.vacant_since, %(now)s)
            WHEN NOT judged.changes THEN venue.vacant_since
        END
    FROM judged
    WHERE venue.facility_id = judged.facility_id
),
told AS (
    SELECT facility_id, tenant_id, 'venue.availability_inferred' AS kind, inferred AS was, found
    FROM judged
    WHERE found <> inferred
    UNION ALL
    SELECT facility_id, tenant_id, 'venue.availability_improved', status, found
    FROM judged
    WHERE improves
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, facility_id, previous_status,
        new_status, data, at
    )
    SELECT
        tenant_id, kind, 'venue', facility_id, 'system', facility_id, was, found, '{}'::jsonb, %(now)s
    FROM told
    ORDER BY facility_id, kind
)
SELECT facility_id, changes, improves FROM judged
