-- Compute the rank keys of active entries anew (domain.md, "Order in the queue"); write those that differ.
-- The caller has locked the queues; locks the entries it writes, by id.
WITH ranked AS (
    SELECT
        entry.id,
        CASE policy.ordering
            WHEN 'score' THEN
                coalesce(policy.membership::bigint * patient.tier, 0)
                + coalesce(policy.chronic::bigint * patient.chronic_condition::int, 0)
                + coalesce(
                    policy.short_window::bigint * (entry.latest - entry.joined_at <= interval '7 days')::int,
                    0
                )
                + policy.urgency::bigint * entry.urgency
            ELSE 0
        END
        -- Whole microseconds divided once, so that Python's division gives the same number.
        - policy.wait_per_day * (
            (extract(epoch FROM entry.joined_at - '2000-01-01T00:00:00Z'::timestamptz) * 1000000)::bigint
            ::double precision / 86400000000
        ) AS rank_key
    FROM waitlist_waitlistentry AS entry
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = entry.facility_id
    LEFT JOIN scheduling_patient AS patient ON patient.id = entry.patient_id
    WHERE entry.facility_id = ANY(%(facilities)s)
        AND entry.status IN ('waiting', 'offered')
        AND (%(patient)s::uuid IS NULL OR entry.patient_id = %(patient)s)
),
changed AS (
    SELECT entry.id, ranked.rank_key
    FROM ranked
    JOIN waitlist_waitlistentry AS entry ON entry.id = ranked.id
    WHERE entry.rank_key <> ranked.rank_key AND entry.status IN ('waiting', 'offered')
    ORDER BY entry.id
    FOR NO KEY UPDATE OF entry
)
UPDATE waitlist_waitlistentry AS entry
SET rank_key = changed.rank_key
FROM changed
WHERE entry.id = changed.id
RETURNING entry.id
