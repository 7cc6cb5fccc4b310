-- Slots as a board takes them: (id, provider, service, start, end, weekday, part of day), the times in
-- microseconds since 1970, weekday and part of day local (domain.md). Takes no lock.
SELECT
    slot.id::text, slot.provider_id::text, slot.service_id::text,
    (extract(epoch FROM lower(slot.period)) * 1000000)::bigint,
    (extract(epoch FROM upper(slot.period)) * 1000000)::bigint,
    extract(isodow FROM start.local)::text,
    CASE
        WHEN start.local::time < '12:00' THEN 'morning'
        WHEN start.local::time < '17:00' THEN 'afternoon'
        ELSE 'evening'
    END
FROM scheduling_slot AS slot
JOIN scheduling_facility AS facility ON facility.id = slot.facility_id
CROSS JOIN LATERAL (
    SELECT lower(slot.period) AT TIME ZONE facility.timezone AS local
) AS start
WHERE slot.id = ANY(%(slots)s::uuid[])
