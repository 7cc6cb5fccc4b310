-- Put off what a tenant has due on a channel, but for what is urgent: %(amount)s messages in each
-- %(period)s from %(start)s on: (id). Locks the messages, by id, skipping locked ones.
WITH due AS (
    SELECT id, next_attempt_at, seq
    FROM notifications_message
    WHERE status = 'queued'
        AND channel = %(channel)s
        AND tenant_id = %(tenant)s
        AND next_attempt_at <= %(now)s
        AND claimed_until IS NULL
        AND kind <> ALL(%(urgent)s)
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
),
placed AS (
    SELECT id, (row_number() OVER (ORDER BY next_attempt_at, seq, id) - 1) / %(amount)s AS turn
    FROM due
)
UPDATE notifications_message AS message
SET next_attempt_at = %(start)s::timestamptz + placed.turn * %(period)s::interval
FROM placed
WHERE message.id = placed.id AND message.status = 'queued'
RETURNING message.id
