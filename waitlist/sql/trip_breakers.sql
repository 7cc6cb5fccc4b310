-- Trip the breakers of queues whose last offers without slot all lapsed, as many as the policy says,
-- since one was answered or given back in time and since the last breaker was resolved: (id). What was
-- given back after its deadline had lapsed, though no sweep had been there. The caller has locked the
-- queues; locks nothing.
WITH silent AS (
    SELECT policy.facility_id, policy.tenant_id
    FROM waitlist_waitlistpolicy AS policy
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE last.closed_at >= last.expires_at) AS lapses
        FROM (
            SELECT hold.closed_at, hold.expires_at
            FROM waitlist_hold AS hold
            WHERE hold.facility_id = policy.facility_id
                AND hold.slot_id IS NULL
                AND hold.closed_at > coalesce(
                    (
                        SELECT max(breaker.resolved_at)
                        FROM waitlist_circuitbreaker AS breaker
                        WHERE breaker.facility_id = policy.facility_id
                    ),
                    '-infinity'
                )
            ORDER BY hold.created_at DESC
            LIMIT policy.breaker_threshold
        ) AS last
    ) AS counted
    WHERE policy.facility_id = ANY(%(facilities)s::uuid[])
        AND counted.lapses >= policy.breaker_threshold
),
tripped AS (
    INSERT INTO waitlist_circuitbreaker (tenant_id, facility_id, status, tripped_at)
    SELECT tenant_id, facility_id, 'tripped', %(now)s
    FROM silent
    ON CONFLICT DO NOTHING
    RETURNING id, tenant_id, facility_id
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, facility_id, previous_status,
        new_status, data, at
    )
    SELECT
        tenant_id, 'waitlist.circuit_breaker_triggered', 'breaker', id, 'system', facility_id,
        NULL, 'tripped', '{}', %(now)s
    FROM tripped
)
SELECT id FROM tripped
