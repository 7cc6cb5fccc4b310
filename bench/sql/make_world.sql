-- A world of one size: tenants with facilities, open slots and people who wait, the same in every run
-- (what looks random is a hash of a number). Slots begin a day after `now`, half an hour each, eight
-- hours a day for four providers; wishes are mixed; some patients are booked or were asked before.
CREATE OR REPLACE FUNCTION pg_temp.pick(what text, n bigint, among int) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (hashtextextended(what || n, 42) & 2147483647)::bigint %% among $$;
CREATE OR REPLACE FUNCTION pg_temp.id(what text, n bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (left(md5(what), 8) || lpad(to_hex(n), 24, '0'))::uuid $$;

INSERT INTO accounts_tenant (id, name, slug, kind)
SELECT pg_temp.id('tenant', t), 'Tenant ' || t, 'bench-' || t, 'clinic'
FROM generate_series(0, (%(facilities)s + 9) / 10 - 1) AS t;

INSERT INTO scheduling_service (id, tenant_id, name, duration, currency)
SELECT pg_temp.id('service', t * 3 + s), pg_temp.id('tenant', t), 'Service ' || s, '30 minutes', ''
FROM generate_series(0, (%(facilities)s + 9) / 10 - 1) AS t, generate_series(0, 2) AS s;

INSERT INTO scheduling_facility (id, tenant_id, name, slug, kind, timezone, city, country, is_active)
SELECT
    pg_temp.id('facility', f), pg_temp.id('tenant', f / 10), 'Facility ' || f, 'bench-' || f,
    'clinic', 'Europe/London', '', '', true
FROM generate_series(0, %(facilities)s - 1) AS f;

UPDATE waitlist_waitlistpolicy
SET quiet_from = NULL, quiet_until = NULL, max_queue_size = NULL, matching = %(matching)s;

-- The fifth provider's time is booked, so that some who wait are busy.
INSERT INTO scheduling_provider (id, tenant_id, name, is_active)
SELECT pg_temp.id('provider', f * 5 + p), pg_temp.id('tenant', f / 10), 'Provider', true
FROM generate_series(0, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, 4) AS p;

INSERT INTO scheduling_providerfacility (tenant_id, facility_id, provider_id)
SELECT pg_temp.id('tenant', f / 10), pg_temp.id('facility', f), pg_temp.id('provider', f * 5 + p)
FROM generate_series(0, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, 4) AS p;

INSERT INTO scheduling_slot (
    id, tenant_id, facility_id, provider_id, service_id, period, status, superseded, created_at,
    updated_at
)
SELECT
    pg_temp.id('slot', f * 1000000 + n), pg_temp.id('tenant', f / 10), pg_temp.id('facility', f),
    pg_temp.id('provider', f * 5 + n %% 4),
    CASE WHEN n %% 4 > 0 THEN pg_temp.id('service', f / 10 * 3 + n %% 3) END,
    tstzrange(start, start + interval '30 minutes'), 'open', false,
    statement_timestamp() - interval '1 hour', statement_timestamp() - interval '1 hour'
FROM generate_series(0, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, %(slots)s - 1) AS n
CROSS JOIN LATERAL (
    SELECT date_trunc('day', %(now)s::timestamptz, 'UTC') + interval '1 day 9 hours'
        + (n / 64) * interval '1 day' + (n / 4 %% 16) * interval '30 minutes' AS start
) AS begins;

INSERT INTO scheduling_patient (
    id, tenant_id, name, email, phone, language, tier, chronic_condition, external_ref
)
SELECT
    pg_temp.id('patient', f * 10000000 + n), pg_temp.id('tenant', f / 10), 'Patient', '', '', 'en',
    pg_temp.pick('tier', n, 4), pg_temp.pick('chronic', n, 5) = 0, ''
FROM generate_series(0::bigint, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, %(waiting)s - 1) AS n;

INSERT INTO waitlist_waitlistentry (
    id, tenant_id, facility_id, patient_id, provider_id, provider_required, service_id, any_facility,
    preferred_days, preferred_time, earliest, latest, dates_flexible, urgency, metadata, rank_key,
    joined_at, status, offers_made, expires_at, cancellation_reason, cancellation_notes
)
SELECT
    pg_temp.id('entry', f * 10000000 + n), pg_temp.id('tenant', f / 10), pg_temp.id('facility', f),
    pg_temp.id('patient', f * 10000000 + n),
    CASE
        WHEN NOT fits THEN pg_temp.id('provider', f * 5 + 4)
        WHEN is_plain THEN NULL
        WHEN pg_temp.pick('wish', n, 10) < 3 THEN pg_temp.id('provider', f * 5 + pg_temp.pick('p', n, 4))
    END,
    NOT fits OR NOT is_plain AND pg_temp.pick('wish', n, 10) = 0,
    CASE WHEN NOT is_plain AND pg_temp.pick('named', n, 10) > 0
        THEN pg_temp.id('service', f / 10 * 3 + pg_temp.pick('service', n, 3)) END,
    pg_temp.pick('any', n, 20) = 0 AND fits,
    CASE
        WHEN %(fit)s = 'lower' AND fits THEN '{6,7}'
        WHEN is_plain THEN '{}'
        ELSE CASE pg_temp.pick('days', n, 8) WHEN 0 THEN '{1,2}' WHEN 1 THEN '{3,4,5}' WHEN 2 THEN '{2}' ELSE '{}' END
    END::smallint[],
    CASE CASE WHEN NOT is_plain THEN pg_temp.pick('time', n, 8) END WHEN 0 THEN 'morning' WHEN 1 THEN 'afternoon' ELSE 'any' END,
    CASE WHEN NOT is_plain AND pg_temp.pick('earliest', n, 10) = 0 THEN %(now)s::timestamptz + interval '2 days' END,
    latest, false, urgency, '{}',
    -- As the clinics' policy ranks them, so that ranking them anew finds little to write.
    2 * pg_temp.pick('tier', n, 4) + 3 * (pg_temp.pick('chronic', n, 5) = 0)::int + 5 * urgency
        + coalesce((latest - joined_at <= interval '7 days')::int, 0)
        - (extract(epoch FROM joined_at - '2000-01-01T00:00:00Z'::timestamptz) * 1000000)::bigint
        ::double precision / 86400000000,
    joined_at, 'waiting', 0, %(now)s::timestamptz + interval '90 days', '', ''
FROM generate_series(0::bigint, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, %(waiting)s - 1) AS n
CROSS JOIN LATERAL (
    SELECT CASE %(fit)s
        WHEN 'all' THEN true
        WHEN 'none' THEN false
        ELSE n %% 1000 = 501
    END AS fits
) AS fit
-- Who fits as one of a thousand has no other wish, so that the best is as good in any queue; or only
-- the weekend, on which a first slot is not.
CROSS JOIN LATERAL (SELECT %(fit)s <> 'all' AND fits AS is_plain) AS plain
CROSS JOIN LATERAL (
    SELECT
        %(now)s::timestamptz - pg_temp.pick('joined', n, 5000000) * interval '1 second' AS joined_at,
        CASE WHEN NOT is_plain AND pg_temp.pick('latest', n, 10) = 0
            THEN %(now)s::timestamptz + interval '3 days' END AS latest,
        CASE WHEN pg_temp.pick('urgent', n, 20) = 0 THEN 1 ELSE 0 END AS urgency
) AS wish;

-- One in twenty (of the first 4,000, or 40 for each slot) has an appointment with the fifth, when
-- slots are open; for each slot one in ten was offered it and declined.
INSERT INTO scheduling_slot (
    id, tenant_id, facility_id, provider_id, period, status, superseded
)
SELECT
    pg_temp.id('booked', f * 10000000 + n), pg_temp.id('tenant', f / 10), pg_temp.id('facility', f),
    pg_temp.id('provider', f * 5 + 4), tstzrange(start, start + interval '10 minutes'), 'open',
    false
FROM generate_series(0::bigint, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, least(%(waiting)s, 4000, %(slots)s * 40) / 20 - 1) AS n
CROSS JOIN LATERAL (
    SELECT date_trunc('day', %(now)s::timestamptz, 'UTC') + interval '1 day 9 hours'
        + (n / 48) * interval '1 day' + (n %% 48) * interval '10 minutes' AS start
) AS begins;

ANALYZE scheduling_slot;  -- else each of them is held against each name below

INSERT INTO scheduling_appointment (
    tenant_id, slot_id, patient_id, facility_id, provider_id, period, status, source,
    cancellation_reason
)
SELECT
    slot.tenant_id, slot.id, pg_temp.id('patient', f * 10000000 + n * 20), slot.facility_id,
    slot.provider_id, slot.period, 'booked', 'direct', ''
FROM generate_series(0::bigint, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, least(%(waiting)s, 4000, %(slots)s * 40) / 20 - 1) AS n
JOIN scheduling_slot AS slot ON slot.id = pg_temp.id('booked', f * 10000000 + n);

UPDATE scheduling_slot SET status = 'booked'
WHERE id IN (SELECT slot_id FROM scheduling_appointment);

-- Open slots of the fifth that these hide, and that people wait for who fit nothing else.
INSERT INTO scheduling_slot (
    id, tenant_id, facility_id, provider_id, period, status, superseded, created_at, updated_at
)
SELECT
    pg_temp.id('hidden', f * 1000000 + n), booked.tenant_id, booked.facility_id, booked.provider_id,
    tstzrange(lower(booked.period), lower(booked.period) + interval '30 minutes'), 'open', false,
    statement_timestamp() - interval '1 hour', statement_timestamp() - interval '1 hour'
FROM generate_series(0::bigint, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, %(hidden)s - 1) AS n
JOIN scheduling_slot AS booked ON booked.id = pg_temp.id('booked', f * 10000000 + n);

INSERT INTO waitlist_hold (
    tenant_id, facility_id, entry_id, slot_id, patient_id, period, status, score, source, offered_at,
    expires_at
)
SELECT
    slot.tenant_id, slot.facility_id, pg_temp.id('entry', f * 10000000 + n * 10 + 3), slot.id,
    pg_temp.id('patient', f * 10000000 + n * 10 + 3), slot.period, 'offered', 100, 'scan',
    %(now)s::timestamptz - interval '2 days', %(now)s::timestamptz - interval '1 day'
FROM generate_series(0::bigint, %(facilities)s - 1) AS f
CROSS JOIN generate_series(0, least(%(waiting)s / 10, %(slots)s) - 1) AS n
JOIN scheduling_slot AS slot ON slot.id = pg_temp.id('slot', f * 1000000 + n);

UPDATE waitlist_hold
SET status = 'declined', closed_at = %(now)s::timestamptz - interval '1 day';
