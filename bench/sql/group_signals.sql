-- The least that inference can be: each venue's signals of the time, grouped once. Takes no lock.
SELECT
    facility_id,
    count(*) FILTER (WHERE type = 'unavailable'),
    count(*) FILTER (WHERE type IN ('confirmed', 'tentative', 'unavailable'))
FROM availability_signal
WHERE recorded_at > %(since)s AND recorded_at <= %(now)s
GROUP BY facility_id
