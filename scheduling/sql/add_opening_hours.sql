-- Make the rules and the exceptions given, which are columns of equal length. Takes no lock but those of
-- an insert.
WITH rule AS (
    INSERT INTO scheduling_availabilityrule (
        tenant_id, facility_id, provider_id, weekday, start_time, end_time,
        slot_minutes, buffer_minutes, is_active
    )
    SELECT
        %(tenant)s, facility_id, provider_id, weekday, start_time, end_time,
        %(slot_minutes)s, 0, true
    FROM unnest(
        %(rule_facility_id)s::uuid[], %(rule_provider_id)s::uuid[], %(rule_weekday)s::int[],
        %(rule_start_time)s::time[], %(rule_end_time)s::time[]
    ) AS given (facility_id, provider_id, weekday, start_time, end_time)
)
INSERT INTO scheduling_availabilityexception (
    tenant_id, facility_id, date, kind, start_time, end_time
)
SELECT %(tenant)s, facility_id, date, kind, start_time, end_time
FROM unnest(
    %(exception_facility_id)s::uuid[], %(exception_date)s::date[], %(exception_kind)s::text[],
    %(exception_start_time)s::time[], %(exception_end_time)s::time[]
) AS given (facility_id, date, kind, start_time, end_time)
