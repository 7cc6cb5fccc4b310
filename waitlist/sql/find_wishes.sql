-- The wishes with which patients wait for a facility, its own and visitors, for one of the services or
-- (a service of zeros) for none: (visitor, service, provider, whether that is required, days as "135",
-- time). Each is one step along the index, from one wish to the next, however many have it: what nobody
-- wishes is known without reading who waits. Takes no lock.
WITH RECURSIVE own AS (
    SELECT wish.*
    FROM unnest(%(services)s::uuid[]) AS wanted (service)
    CROSS JOIN LATERAL (
        SELECT
            wanted.service, coalesce(provider_id, '00000000-0000-0000-0000-000000000000') AS provider,
            provider_required AS required, preferred_days AS days, preferred_time AS time
        FROM waitlist_waitlistentry
        WHERE CASE WHEN patient_id IS NOT NULL THEN facility_id END = %(facility)s
            AND status = 'waiting'
            AND coalesce(service_id, '00000000-0000-0000-0000-000000000000') = wanted.service
        ORDER BY 2, 3, 4, 5
        LIMIT 1
    ) AS wish
    UNION ALL
    SELECT wish.*
    FROM own
    CROSS JOIN LATERAL (
        SELECT
            own.service, coalesce(provider_id, '00000000-0000-0000-0000-000000000000'),
            provider_required, preferred_days, preferred_time
        FROM waitlist_waitlistentry
        WHERE CASE WHEN patient_id IS NOT NULL THEN facility_id END = %(facility)s
            AND status = 'waiting'
            AND coalesce(service_id, '00000000-0000-0000-0000-000000000000') = own.service
            AND (
                coalesce(provider_id, '00000000-0000-0000-0000-000000000000'), provider_required,
                preferred_days, preferred_time
            ) > (own.provider, own.required, own.days, own.time)
        ORDER BY 2, 3, 4, 5
        LIMIT 1
    ) AS wish
),
visitors AS (
    SELECT wish.*
    FROM unnest(%(services)s::uuid[]) AS wanted (service)
    CROSS JOIN LATERAL (
        SELECT
            wanted.service, coalesce(provider_id, '00000000-0000-0000-0000-000000000000') AS provider,
            provider_required AS required, preferred_days AS days, preferred_time AS time
        FROM waitlist_waitlistentry
        WHERE tenant_id = %(tenant)s
            AND any_facility
            AND status = 'waiting'
            AND coalesce(service_id, '00000000-0000-0000-0000-000000000000') = wanted.service
        ORDER BY 2, 3, 4, 5
        LIMIT 1
    ) AS wish
    UNION ALL
    SELECT wish.*
    FROM visitors
    CROSS JOIN LATERAL (
        SELECT
            visitors.service, coalesce(provider_id, '00000000-0000-0000-0000-000000000000'),
            provider_required, preferred_days, preferred_time
        FROM waitlist_waitlistentry
        WHERE tenant_id = %(tenant)s
            AND any_facility
            AND status = 'waiting'
            AND coalesce(service_id, '00000000-0000-0000-0000-000000000000') = visitors.service
            AND (
                coalesce(provider_id, '00000000-0000-0000-0000-000000000000'), provider_required,
                preferred_days, preferred_time
            ) > (visitors.provider, visitors.required, visitors.days, visitors.time)
        ORDER BY 2, 3, 4, 5
        LIMIT 1
    ) AS wish
)
SELECT
    visitor, nullif(service, '00000000-0000-0000-0000-000000000000')::text,
    nullif(provider, '00000000-0000-0000-0000-000000000000')::text, required,
    array_to_string(days, ''), time
FROM (
    SELECT false AS visitor, * FROM own
    UNION ALL
    SELECT true AS visitor, * FROM visitors
) AS found
