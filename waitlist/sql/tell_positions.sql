-- Note who has come among the first %(places)s of those who wait for their facility and service, once
-- for each, and who was not told so when they joined: (id) of whom it was noted for. Steps from queue
-- to queue and reads the first of each along the index, so its cost does not grow with their length.
-- Locks the entries, by id, skipping locked ones.
WITH RECURSIVE queue AS (
    (
        SELECT facility_id, coalesce(service_id, '00000000-0000-0000-0000-000000000000') AS service
        FROM waitlist_waitlistentry
        WHERE status = 'waiting' AND (%(facility)s::uuid IS NULL OR facility_id = %(facility)s::uuid)
        ORDER BY 1, 2
        LIMIT 1
    )
    UNION ALL
    SELECT next.facility_id, next.service
    FROM queue
    CROSS JOIN LATERAL (
        SELECT facility_id, coalesce(service_id, '00000000-0000-0000-0000-000000000000') AS service
        FROM waitlist_waitlistentry
        WHERE status = 'waiting'
            AND (%(facility)s::uuid IS NULL OR facility_id = %(facility)s::uuid)
            AND (facility_id, coalesce(service_id, '00000000-0000-0000-0000-000000000000'))
                > (queue.facility_id, queue.service)
        ORDER BY 1, 2
        LIMIT 1
    ) AS next
),
newcomer AS (
    SELECT first.id, place.position
    FROM queue
    CROSS JOIN LATERAL (
        SELECT *, row_number() OVER (ORDER BY rank_key DESC, joined_at, id) AS n
        FROM waitlist_waitlistentry
        WHERE status = 'waiting'
            AND facility_id = queue.facility_id
            AND coalesce(service_id, '00000000-0000-0000-0000-000000000000') = queue.service
        ORDER BY rank_key DESC, joined_at, id
        LIMIT %(places)s
    ) AS first
    -- Who is offered something keeps the place meanwhile; they are few.
    CROSS JOIN LATERAL (
        SELECT first.n + count(*) AS position
        FROM waitlist_waitlistentry AS offered
        WHERE offered.status = 'offered'
            AND offered.facility_id = first.facility_id
            AND offered.service_id IS NOT DISTINCT FROM first.service_id
            AND (-offered.rank_key, offered.joined_at, offered.id)
                < (-first.rank_key, first.joined_at, first.id)
    ) AS place
    WHERE (first.best_position_told IS NULL OR first.best_position_told > %(places)s)
        AND place.position <= %(places)s
    LIMIT %(limit)s
),
due AS (
    SELECT entry.id, newcomer.position
    FROM newcomer
    JOIN waitlist_waitlistentry AS entry ON entry.id = newcomer.id
    WHERE entry.status = 'waiting'
        AND (entry.best_position_told IS NULL OR entry.best_position_told > %(places)s)
    ORDER BY entry.id
    FOR NO KEY UPDATE OF entry SKIP LOCKED
),
noted AS (
    UPDATE waitlist_waitlistentry AS entry
    SET best_position_told = due.position
    FROM due
    WHERE entry.id = due.id AND entry.status = 'waiting'
    RETURNING entry.*, due.position
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, entry_id, facility_id, provider_id,
        previous_status, new_status, data, at
    )
    SELECT
        tenant_id, 'waitlist.position_changed', 'entry', id, 'system', id, facility_id, provider_id,
        'waiting', 'waiting', jsonb_build_object('position', position), %(now)s
    FROM noted
    WHERE NOT EXISTS (
        SELECT
        FROM audit_event AS joined
        WHERE joined.entry_id = noted.id
            AND joined.kind = 'waitlist.joined'
            AND (joined.data ->> 'position')::int <= %(places)s
    )
)
SELECT id FROM noted
