-- The position of each active one of the given entries in its queue and service: (entry, position).
-- Each counts only those between itself and the one of the given entries that goes just before it,
-- so that a page costs one pass over the index up to its last entry. Takes no lock.
WITH given AS (
    SELECT
        entry.id, entry.facility_id, entry.service_id, entry.rank_key, entry.joined_at,
        lag(entry.rank_key, 1, 'infinity') OVER queue AS last_key,
        lag(entry.joined_at) OVER queue AS last_joined_at,
        lag(entry.id) OVER queue AS last_id
    FROM waitlist_waitlistentry AS entry
    WHERE entry.id = ANY(%(entries)s::uuid[]) AND entry.status IN ('waiting', 'offered')
    WINDOW queue AS (
        PARTITION BY entry.facility_id, entry.service_id
        ORDER BY entry.rank_key DESC, entry.joined_at, entry.id
    )
)
SELECT
    given.id,
    1 + sum(between_them.n) OVER (
        PARTITION BY given.facility_id, given.service_id
        ORDER BY given.rank_key DESC, given.joined_at, given.id
    )::int
FROM given
CROSS JOIN LATERAL (
    SELECT count(*) AS n
    FROM waitlist_waitlistentry AS entry
    WHERE entry.facility_id = given.facility_id
        AND entry.status IN ('waiting', 'offered')
        AND entry.service_id IS NOT DISTINCT FROM given.service_id
        AND entry.rank_key BETWEEN given.rank_key AND given.last_key
        AND (
            entry.rank_key > given.rank_key
            OR (entry.joined_at, entry.id) < (given.joined_at, given.id)
        )
        AND (
            entry.rank_key < given.last_key
            OR (entry.joined_at, entry.id) >= (given.last_joined_at, given.last_id)
        )
) AS between_them
