-- Write what endpoints are told of the events from place %(first)s to %(last)s: one row for each
-- event and active endpoint of its tenant that chose its kind; (endpoint, how many). The relay's
-- advisory lock makes this the only one, and keeps endpoints from being removed; locks nothing.
WITH written AS (
    INSERT INTO notifications_webhookdelivery (
        tenant_id, endpoint_id, event_id, seq, kind, status, attempts, next_attempt_at, reason
    )
    SELECT
        event.tenant_id, endpoint.id, event.id, place.seq, event.kind, 'pending', 0,
        %(now)s::timestamptz, ''
    FROM audit_eventseq AS place
    JOIN audit_event AS event ON event.id = place.event_id
    JOIN notifications_webhookendpoint AS endpoint
        ON endpoint.tenant_id = event.tenant_id
        AND endpoint.is_active
        AND event.kind = ANY(endpoint.kinds)
    WHERE place.seq BETWEEN %(first)s AND %(last)s
    ORDER BY place.seq
    ON CONFLICT DO NOTHING
    RETURNING endpoint_id
)
SELECT endpoint_id::text, count(*) FROM written GROUP BY endpoint_id
