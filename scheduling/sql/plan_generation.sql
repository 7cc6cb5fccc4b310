-- Facilities that have rules, put together in batches of a tenant that make so many slots in so many days,
-- with the zones of each batch. Those without a rule have nothing to make and nothing to retire. Takes no
-- lock.
SELECT tenant_id, array_agg(id ORDER BY id), array_agg(DISTINCT timezone)
FROM (
    SELECT
        facility.tenant_id,
        facility.id,
        facility.timezone,
        div(
            sum(sum(
                CASE
                    WHEN rule.is_active
                        THEN %(days)s / 7.0 * mod(1440 + opening.minutes, 1440)
                            / (rule.slot_minutes + rule.buffer_minutes)
                    ELSE 0
                END
            )) OVER (PARTITION BY facility.tenant_id ORDER BY facility.id),
            %(slots)s
        ) AS batch
    FROM scheduling_facility AS facility
    JOIN scheduling_availabilityrule AS rule ON rule.facility_id = facility.id
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM rule.end_time - rule.start_time) / 60 AS minutes
    ) AS opening
    WHERE facility.timezone <> ALL(%(unknown_zones)s)
        AND (%(tenant)s::uuid IS NULL OR facility.tenant_id = %(tenant)s)
        AND (%(facility)s::uuid IS NULL OR facility.id = %(facility)s)
        AND (%(provider)s::uuid IS NULL OR rule.provider_id = %(provider)s)
    GROUP BY facility.tenant_id, facility.id, facility.timezone
) AS weighed
GROUP BY tenant_id, batch
ORDER BY tenant_id, batch
