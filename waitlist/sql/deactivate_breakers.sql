-- Deactivate the queues whose breakers tripped long ago and were not resolved: (breaker). Locks the
-- queues, by id; whoever resolves or joins locks them first, too.
WITH due AS (
    SELECT breaker.facility_id
    FROM waitlist_circuitbreaker AS breaker
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = breaker.facility_id
    WHERE breaker.status = 'tripped'
        AND breaker.tripped_at + policy.breaker_timeout <= %(now)s
    ORDER BY breaker.facility_id
    LIMIT %(limit)s
),
queue AS (
    SELECT queue.facility_id
    FROM waitlist_queue AS queue
    JOIN due ON due.facility_id = queue.facility_id
    ORDER BY queue.facility_id
    FOR NO KEY UPDATE OF queue
),
deactivated AS (
    UPDATE waitlist_circuitbreaker AS breaker
    SET status = 'deactivated'
    FROM queue
    WHERE breaker.facility_id = queue.facility_id AND breaker.status = 'tripped'
    RETURNING breaker.id, breaker.tenant_id, breaker.facility_id
),
closed AS (
    UPDATE waitlist_queue AS queue
    SET deactivated_at = %(now)s
    FROM deactivated
    WHERE queue.facility_id = deactivated.facility_id
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, facility_id, previous_status,
        new_status, data, at
    )
    SELECT
        tenant_id, 'waitlist.deactivated', 'breaker', id, 'system', facility_id, 'tripped',
        'deactivated', '{}', %(now)s
    FROM deactivated
)
SELECT id FROM deactivated
