-- Venues of one operator and so many signals of them in turn, spread over 91 days up to `now`: of the
-- answers of a venue, about n of a hundred say that it is full, n being its number. Takes no lock.
CREATE OR REPLACE FUNCTION pg_temp.pick(what text, n bigint, among int) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (hashtextextended(what || n, 42) & 2147483647)::bigint %% among $$;
CREATE OR REPLACE FUNCTION pg_temp.id(what text, n bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (left(md5(what), 8) || lpad(to_hex(n), 24, '0'))::uuid $$;

INSERT INTO accounts_tenant (id, name, slug, kind)
VALUES (pg_temp.id('tenant', 0), 'Operator', 'bench-venues', 'venue_operator');

INSERT INTO scheduling_facility (id, tenant_id, name, slug, kind, timezone, city, country, is_active)
SELECT
    pg_temp.id('venue', v), pg_temp.id('tenant', 0), 'Venue ' || v, 'bench-' || v, 'venue',
    'Europe/London', '', '', true
FROM generate_series(0, %(venues)s - 1) AS v;

INSERT INTO availability_signal (tenant_id, facility_id, type, rfp_id, rfp_venue_id, metadata, recorded_at)
SELECT
    pg_temp.id('tenant', 0), pg_temp.id('venue', n %% %(venues)s),
    CASE
        WHEN pg_temp.pick('answers', n, 4) = 0 THEN 'no_response'
        WHEN pg_temp.pick('full', n, 100) < n %% %(venues)s %% 100 THEN 'unavailable'
        WHEN pg_temp.pick('sure', n, 2) = 0 THEN 'tentative'
        ELSE 'confirmed'
    END,
    pg_temp.id('rfp', n), pg_temp.id('asked', n), '{}',
    %(now)s - (%(signals)s - n) * (interval '91 days' / %(signals)s)
FROM generate_series(1, %(signals)s) AS n
