-- What the answers from %(since)s to %(now)s make of each venue that has signals of that time:
-- (venue, status). By itself, because PostgreSQL reads in parallel only where nothing is written or
-- locked; so it takes no lock.
SELECT
    facility_id,
    CASE
        WHEN answers = 0 THEN 'not_set'
        WHEN unavailable * 10 >= answers * 8 THEN 'fully_booked'
        WHEN unavailable * 2 >= answers THEN 'limited_availability'
        ELSE 'accepting_events'
    END
FROM (
    SELECT
        facility_id,
        count(*) FILTER (WHERE type = 'unavailable') AS unavailable,
        count(*) FILTER (WHERE type IN ('confirmed', 'tentative', 'unavailable')) AS answers
    FROM availability_signal
    WHERE recorded_at > %(since)s AND recorded_at <= %(now)s
    GROUP BY facility_id
) AS counted
