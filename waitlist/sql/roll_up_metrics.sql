-- Count, for each queue, what happened on its facility's local yesterday and today, and write it down
-- again. A day is closed by the first run after local midnight. Organizers' entries are left out: the
-- rows are the facility's tenant's to see; so are facilities in a zone that PostgreSQL does not know, of
-- which nobody can say what day it is. Takes no lock but on the rows it writes.
WITH zone AS MATERIALIZED (
    SELECT name FROM pg_timezone_names
),
day AS (
    SELECT
        facility.id AS facility_id, facility.tenant_id, local.day,
        local.day::timestamp AT TIME ZONE zone.name AS starts_at,
        (local.day + 1)::timestamp AT TIME ZONE zone.name AS ends_at
    FROM scheduling_facility AS facility
    JOIN zone ON zone.name = facility.timezone
    CROSS JOIN LATERAL (
        VALUES
            ((%(now)s AT TIME ZONE zone.name)::date),
            ((%(now)s AT TIME ZONE zone.name)::date - 1)
    ) AS local (day)
    WHERE facility.is_active AND (%(facility)s::uuid IS NULL OR facility.id = %(facility)s)
),
entries AS (
    SELECT
        day.facility_id, day.day,
        count(*) FILTER (
            WHERE entry.closed_at IS NULL OR entry.closed_at >= day.ends_at
        ) AS queue_depth,
        count(*) FILTER (WHERE ended.today AND entry.status = 'converted') AS promotions,
        count(*) FILTER (WHERE ended.today AND entry.status = 'expired') AS expired,
        count(*) FILTER (WHERE ended.today AND entry.status = 'cancelled') AS cancelled,
        avg(extract(epoch FROM entry.closed_at - entry.joined_at) / 60) FILTER (
            WHERE ended.today AND entry.status = 'converted'
        ) AS avg_wait_minutes
    FROM day
    JOIN waitlist_waitlistentry AS entry
        ON entry.facility_id = day.facility_id
        AND entry.patient_id IS NOT NULL
        AND entry.joined_at < day.ends_at
        AND (entry.closed_at IS NULL OR entry.closed_at >= day.starts_at)
    CROSS JOIN LATERAL (
        SELECT entry.closed_at >= day.starts_at AND entry.closed_at < day.ends_at
    ) AS ended (today)
    GROUP BY day.facility_id, day.day
),
offers AS (
    SELECT
        day.facility_id, day.day,
        count(*) FILTER (
            WHERE hold.offered_at >= day.starts_at AND hold.offered_at < day.ends_at
        ) AS offers,
        count(*) FILTER (WHERE closed.today) AS closed,
        count(*) FILTER (WHERE closed.today AND hold.status = 'accepted') AS accepted
    FROM day
    JOIN waitlist_hold AS hold
        ON hold.facility_id = day.facility_id
        AND hold.patient_id IS NOT NULL
        AND hold.offered_at < day.ends_at
        AND (hold.closed_at IS NULL OR hold.closed_at >= day.starts_at)
    CROSS JOIN LATERAL (
        SELECT hold.closed_at >= day.starts_at AND hold.closed_at < day.ends_at
    ) AS closed (today)
    GROUP BY day.facility_id, day.day
),
freed AS (
    SELECT day.facility_id, day.day, count(*) AS slots
    FROM day
    JOIN scheduling_appointment AS appointment
        ON appointment.facility_id = day.facility_id
        AND appointment.cancelled_at >= day.starts_at
        AND appointment.cancelled_at < day.ends_at
    GROUP BY day.facility_id, day.day
),
refilled AS (
    SELECT
        day.facility_id, day.day, count(*) AS slots,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM entry.closed_at - opened.at)
        ) AS median_seconds
    FROM day
    JOIN scheduling_appointment AS appointment
        ON appointment.facility_id = day.facility_id AND appointment.source = 'waitlist'
    JOIN waitlist_waitlistentry AS entry
        ON entry.appointment_id = appointment.id
        AND entry.closed_at >= day.starts_at
        AND entry.closed_at < day.ends_at
    CROSS JOIN LATERAL (
        SELECT event.at
        FROM audit_event AS event
        WHERE event.subject_id = appointment.slot_id
            AND event.kind = 'slot.opened'
            AND event.previous_status = 'booked'
            AND event.at <= entry.closed_at
        ORDER BY event.id DESC
        LIMIT 1
    ) AS opened
    GROUP BY day.facility_id, day.day
)
INSERT INTO waitlist_dailymetric (
    tenant_id, facility_id, day, queue_depth, avg_wait_minutes, offers, promotions, expired,
    cancelled, conversion_rate, slots_freed, slots_refilled, median_fill_seconds
)
SELECT
    day.tenant_id, day.facility_id, day.day, coalesce(entries.queue_depth, 0),
    entries.avg_wait_minutes, coalesce(offers.offers, 0), coalesce(entries.promotions, 0),
    coalesce(entries.expired, 0), coalesce(entries.cancelled, 0),
    offers.accepted::double precision / nullif(offers.closed, 0),
    coalesce(freed.slots, 0), coalesce(refilled.slots, 0), refilled.median_seconds
FROM day
LEFT JOIN entries USING (facility_id, day)
LEFT JOIN offers USING (facility_id, day)
LEFT JOIN freed USING (facility_id, day)
LEFT JOIN refilled USING (facility_id, day)
WHERE coalesce(entries.facility_id, offers.facility_id, freed.facility_id) IS NOT NULL
ORDER BY day.facility_id, day.day
ON CONFLICT (facility_id, day) DO UPDATE SET
    queue_depth = excluded.queue_depth,
    avg_wait_minutes = excluded.avg_wait_minutes,
    offers = excluded.offers,
    promotions = excluded.promotions,
    expired = excluded.expired,
    cancelled = excluded.cancelled,
    conversion_rate = excluded.conversion_rate,
    slots_freed = excluded.slots_freed,
    slots_refilled = excluded.slots_refilled,
    median_fill_seconds = excluded.median_fill_seconds
RETURNING id
