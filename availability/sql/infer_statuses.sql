-- Write down what was found of %(venues)s, %(found)s in the same order, and show it where nothing was
-- set by hand. Of a venue that was inferred and has no signals any more nothing is known. One row: how
-- many venues, those whose shown status changed, those of them where it got better. Locks the venues
-- as it comes to them, and reads them again where they changed meanwhile: who else locks a venue locks
-- one, after all else.
WITH answered AS (
    SELECT * FROM unnest(%(venues)s::uuid[], %(found)s::text[]) AS answered (facility_id, found)
),
result AS (
    SELECT venue.facility_id, coalesce(answered.found, 'not_set') AS found
    FROM availability_venueavailability AS venue
    LEFT JOIN answered ON answered.facility_id = venue.facility_id
    WHERE answered.facility_id IS NOT NULL OR venue.inferred_status <> 'not_set'
),
-- Most are as they were: of those no trigger counts the version on.
confirmed AS (
    UPDATE availability_venueavailability AS venue
    SET last_inferred_at = %(now)s
    FROM result
    WHERE venue.facility_id = result.facility_id AND venue.inferred_status = result.found
    RETURNING venue.facility_id
),
inferred AS (
    UPDATE availability_venueavailability AS venue
    SET
        inferred_status = result.found,
        last_inferred_at = %(now)s,
        status = CASE WHEN venue.manual_override_at IS NULL THEN result.found ELSE venue.status END,
        vacant_since = CASE
            WHEN venue.manual_override_at IS NOT NULL OR venue.status = result.found
                THEN venue.vacant_since
            WHEN result.found = 'accepting_events'
                OR (result.found = 'limited_availability' AND venue.status = 'fully_booked')
                THEN coalesce(venue.vacant_since, %(now)s)
        END
    FROM result
    WHERE venue.facility_id = result.facility_id
        AND venue.inferred_status IS DISTINCT FROM result.found
    RETURNING
        venue.facility_id, venue.tenant_id, venue.inferred_status AS found, venue.status,
        coalesce(old.inferred_status, 'not_set') AS found_before, old.status AS status_before,
        old.status <> new.status AS changes,
        (new.status = 'accepting_events' AND old.status <> 'accepting_events')
        OR (new.status = 'limited_availability' AND old.status = 'fully_booked') AS improves
),
told AS (
    SELECT
        facility_id, tenant_id, 'venue.availability_inferred' AS kind, found_before AS was,
        found AS new
    FROM inferred
    WHERE found <> found_before
    UNION ALL
    SELECT facility_id, tenant_id, 'venue.availability_improved', status_before, status
    FROM inferred
    WHERE improves
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, facility_id, previous_status,
        new_status, data, at
    )
    SELECT
        tenant_id, kind, 'venue', facility_id, 'system', facility_id, was, new, '{}'::jsonb, %(now)s
    FROM told
    ORDER BY facility_id, kind
)
SELECT
    (SELECT count(*) FROM confirmed) + count(*),
    coalesce(array_agg(facility_id) FILTER (WHERE changes), '{}'),
    coalesce(array_agg(facility_id) FILTER (WHERE improves), '{}')
FROM inferred
