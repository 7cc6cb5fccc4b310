-- Write down what was found of %(venues)s, %(found)s in the same order, and show it where nothing was
-- set by hand. Of a venue that was inferred and has no signals any more nothing is known. (venue,
-- whether what is shown changed, whether it got better) for each venue. Locks the venues, by id.
WITH answered AS (
    SELECT * FROM unnest(%(venues)s::uuid[], %(found)s::text[]) AS answered (facility_id, found)
),
venue AS (
    SELECT
        venue.facility_id, venue.tenant_id, venue.status, venue.inferred_status,
        venue.manual_override_at IS NULL AS shows_it
    FROM availability_venueavailability AS venue
    WHERE venue.facility_id IN (SELECT facility_id FROM answered)
        OR venue.inferred_status <> 'not_set'
    ORDER BY venue.facility_id
    FOR NO KEY UPDATE
),
result AS (
    SELECT venue.*, coalesce(answered.found, 'not_set') AS found
    FROM venue
    LEFT JOIN answered ON answered.facility_id = venue.facility_id
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
-- Most are as they were: of those no trigger counts the version on.
confirmed AS (
    UPDATE availability_venueavailability AS venue
    SET last_inferred_at = %(now)s
    FROM judged
    WHERE venue.facility_id = judged.facility_id AND judged.found = judged.inferred_status
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
        AND judged.found IS DISTINCT FROM judged.inferred_status
),
told AS (
    SELECT
        facility_id, tenant_id, 'venue.availability_inferred' AS kind,
        coalesce(inferred_status, 'not_set') AS was, found
    FROM judged
    WHERE found <> coalesce(inferred_status, 'not_set')
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
