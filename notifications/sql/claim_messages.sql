-- Claim messages of a channel that are due, for a while: (id). Of those queued for one recipient
-- about one entry only the first is taken, so that they are sent in order. Something urgent that is
-- due waits only for what was not tried yet, which is then told at once though it was put off, and
-- for what is being sent: what was tried and not taken comes after it. Nothing waits for what was
-- put off until it would be worth nothing itself. Of what is due, or is being sent, about one
-- appointment the first is taken, too; what was put off keeps no later news of it.
-- Locks the messages, skipping locked ones.
WITH free AS (
    SELECT message.id, message.next_attempt_at
    FROM notifications_message AS message
    WHERE message.status = 'queued'
        AND message.channel = %(channel)s
        AND message.next_attempt_at <= %(now)s
        AND (message.claimed_until IS NULL OR message.claimed_until <= %(now)s)
        AND NOT EXISTS (
            SELECT
            FROM notifications_message AS earlier
            WHERE earlier.status = 'queued'
                AND earlier.entry_id = message.entry_id
                AND earlier.channel = message.channel
                AND earlier.seq < message.seq
                AND earlier.patient_id IS NOT DISTINCT FROM message.patient_id
                AND earlier.user_id IS NOT DISTINCT FROM message.user_id
                AND (
                    earlier.claimed_until > %(now)s
                    OR CASE
                        WHEN message.kind = ANY(%(urgent)s) THEN earlier.attempts = 0
                        ELSE coalesce(earlier.next_attempt_at < message.deadline, TRUE)
                    END
                )
        )
        AND NOT EXISTS (
            SELECT
            FROM notifications_message AS earlier
            WHERE earlier.status = 'queued'
                AND earlier.appointment_id = message.appointment_id
                AND earlier.channel = message.channel
                AND earlier.seq < message.seq
                AND earlier.patient_id IS NOT DISTINCT FROM message.patient_id
                AND earlier.user_id IS NOT DISTINCT FROM message.user_id
                AND earlier.next_attempt_at <= %(now)s
        )
    UNION
    SELECT first.id, first.next_attempt_at
    FROM notifications_message AS urgent
    CROSS JOIN LATERAL (
        SELECT *
        FROM notifications_message AS earlier
        WHERE earlier.status = 'queued'
            AND earlier.entry_id = urgent.entry_id
            AND earlier.channel = urgent.channel
            AND earlier.seq < urgent.seq
            AND earlier.patient_id IS NOT DISTINCT FROM urgent.patient_id
            AND earlier.user_id IS NOT DISTINCT FROM urgent.user_id
            AND (earlier.attempts = 0 OR earlier.claimed_until > %(now)s)
        ORDER BY earlier.seq
        LIMIT 1
    ) AS first
    WHERE urgent.status = 'queued'
        AND urgent.channel = %(channel)s
        AND urgent.kind = ANY(%(urgent)s)
        AND urgent.next_attempt_at <= %(now)s
        AND first.attempts = 0
        AND first.claimed_until IS NULL
    ORDER BY next_attempt_at, id
    LIMIT %(limit)s
),
due AS (
    SELECT message.id
    FROM notifications_message AS message
    JOIN free ON free.id = message.id
    WHERE message.status = 'queued'
        AND (message.claimed_until IS NULL OR message.claimed_until <= %(now)s)
    ORDER BY message.id
    FOR NO KEY UPDATE OF message SKIP LOCKED
)
UPDATE notifications_message AS message
SET claimed_until = %(until)s, attempts = message.attempts + 1
FROM due
WHERE message.id = due.id AND message.status = 'queued'
RETURNING message.id
