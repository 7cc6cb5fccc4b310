-- End live holds as %(to)s says, and do to each entry what follows: a withdrawn one goes back to its
-- place; a declined or lapsed one does what its queue's policy says, and expires when it has had all
-- the offers it may have. An entry that waits again keeps `joined_at` and `rank_key`, so its place.
-- The caller has locked the entries' queues and the slots; locks the holds, then the entries, by id.
WITH hold AS (
    SELECT hold.id, hold.entry_id, hold.slot_id, hold.facility_id
    FROM waitlist_hold AS hold
    WHERE hold.id = ANY(%(holds)s::uuid[]) AND hold.status = 'offered'
    ORDER BY hold.id
    FOR NO KEY UPDATE
),
entry AS (
    SELECT
        entry.id, entry.facility_id, entry.any_facility,
        CASE
            WHEN %(to)s = 'withdrawn' THEN 'waiting'
            WHEN %(to)s = 'declined' AND policy.on_decline = 'cancel' THEN 'cancelled'
            WHEN %(to)s = 'expired' AND policy.on_hold_expiry = 'expire' THEN 'expired'
            WHEN policy.max_offers_per_entry <= entry.offers_made + 1 THEN 'expired'
            ELSE 'waiting'
        END AS outcome
    FROM hold
    JOIN waitlist_waitlistentry AS entry ON entry.id = hold.entry_id
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = entry.facility_id
    ORDER BY entry.id
    FOR NO KEY UPDATE OF entry
),
closed AS (
    UPDATE waitlist_hold AS hold
    SET status = %(to)s, closed_at = %(now)s
    FROM hold AS locked
    JOIN entry ON entry.id = locked.entry_id
    WHERE hold.id = locked.id AND hold.status = 'offered'
    RETURNING
        hold.id, hold.tenant_id, hold.entry_id, hold.slot_id, hold.facility_id, entry.outcome,
        entry.facility_id AS queue_id, entry.any_facility
),
settled AS (
    UPDATE waitlist_waitlistentry AS entry
    SET
        status = closed.outcome,
        offers_made = entry.offers_made + (%(to)s <> 'withdrawn')::int,
        closed_at = CASE WHEN closed.outcome <> 'waiting' THEN %(now)s::timestamptz END,
        cancellation_reason = CASE WHEN closed.outcome = 'cancelled' THEN 'declined_offer' ELSE '' END
    FROM closed
    WHERE entry.id = closed.entry_id AND entry.status = 'offered'
    RETURNING
        entry.id, entry.tenant_id, entry.facility_id, entry.provider_id, entry.status,
        entry.offers_made, closed.id AS hold_id, closed.slot_id
),
revised AS (
    UPDATE waitlist_queue AS queue
    SET
        revision = queue.revision + 1,
        visitors_revision = queue.visitors_revision + changed.visitors
    FROM (
        SELECT queue_id, max(any_facility::int) AS visitors
        FROM closed
        WHERE outcome = 'waiting'
        GROUP BY queue_id
    ) AS changed
    WHERE queue.facility_id = changed.queue_id
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, actor_id, entry_id, hold_id,
        slot_id, facility_id, provider_id, previous_status, new_status, data, at
    )
    SELECT
        closed.tenant_id, 'waitlist.hold_' || %(to)s, 'hold', closed.id, %(actor_type)s, %(actor_id)s::uuid,
        closed.entry_id, closed.id, closed.slot_id, closed.facility_id, slot.provider_id,
        'offered', %(to)s,
        CASE %(to)s
            WHEN 'withdrawn' THEN jsonb_build_object('reason', %(reason)s::text)
            ELSE jsonb_build_object('offers_made', settled.offers_made)
        END,
        %(now)s
    FROM closed
    JOIN settled ON settled.hold_id = closed.id
    LEFT JOIN scheduling_slot AS slot ON slot.id = closed.slot_id
    UNION ALL
    SELECT
        tenant_id,
        CASE status
            WHEN 'waiting' THEN 'waitlist.requeued'
            WHEN 'cancelled' THEN 'waitlist.cancelled'
            ELSE 'waitlist.auto_expired'
        END,
        'entry', id, %(actor_type)s, %(actor_id)s::uuid, id, hold_id, slot_id, facility_id, provider_id,
        'offered', status,
        jsonb_build_object('reason', CASE status
            WHEN 'waiting' THEN %(to)s
            WHEN 'cancelled' THEN 'declined_offer'
            ELSE 'hold_' || %(to)s
        END),
        %(now)s
    FROM settled
    WHERE %(to)s <> 'withdrawn'
)
SELECT
    id, slot_id, facility_id, CASE WHEN outcome = 'waiting' THEN entry_id END AS requeued, queue_id
FROM closed
