-- Insert the slots that rules and exceptions call for and that are missing, at some facilities, on the
-- local dates first to last. Return how many, by rule where asked, and the ids of coming slots that are
-- out of line: `stale` ones, which nothing makes any longer, and `made` ones that retired or were to
-- retire. settle_slots.sql sees to those.
--
-- An opening belongs to the local date on which it starts. Local times become instants through the
-- regimes of the zone, which the caller gives: an opening is cut where the clocks change, so that what
-- never happens is left out and what happens twice is there twice; pieces that touch are one again. Slots
-- follow each other in real time from the start of a piece.
--
-- Locks: none but those of an insert; the caller has the advisory lock of generation.
WITH regime AS MATERIALIZED (
    SELECT
        regime.zone,
        make_interval(secs => regime.utc_offset) AS utc_offset,
        tstzrange(regime.lower, regime.upper) AS period
    FROM jsonb_to_recordset(%(regimes)s) AS regime (
        zone text, utc_offset int, lower timestamptz, upper timestamptz
    )
),
-- A day more on either side: a slot after midnight may belong to the evening before, and must not count
-- as made by nothing because that evening was not asked for.
day AS MATERIALIZED (
    SELECT day::date AS date, extract(isodow FROM day)::int AS weekday
    FROM generate_series(%(first)s::date - 1, %(last)s::date + 1, interval '1 day') AS day
),
desk AS MATERIALIZED (
    SELECT facility.tenant_id, facility.id AS facility_id, facility.timezone, posting.provider_id
    FROM scheduling_facility AS facility
    JOIN scheduling_providerfacility AS posting ON posting.facility_id = facility.id
    JOIN scheduling_provider AS provider ON provider.id = posting.provider_id
    WHERE facility.id = ANY(%(facilities)s)
        AND facility.is_active
        AND provider.is_active
        AND (%(provider)s::uuid IS NULL OR provider.id = %(provider)s)
),
rule AS MATERIALIZED (
    SELECT
        rule.id,
        rule.tenant_id,
        rule.facility_id,
        rule.provider_id,
        rule.service_id,
        desk.timezone,
        make_interval(mins => rule.slot_minutes) AS length,
        make_interval(mins => rule.slot_minutes + rule.buffer_minutes) AS step,
        rule.weekday,
        rule.start_time,
        rule.end_time,
        coalesce(rule.valid_from, '-infinity') AS valid_from,
        coalesce(rule.valid_until, 'infinity') AS valid_until
    FROM desk
    JOIN scheduling_availabilityrule AS rule
        ON rule.facility_id = desk.facility_id AND rule.provider_id = desk.provider_id
    WHERE rule.is_active
),
-- Dates on which exceptions stand in the place of a provider's rules.
replaced AS MATERIALIZED (
    SELECT
        desk.facility_id,
        desk.provider_id,
        day.date,
        day.weekday,
        bool_or(exception.kind <> 'special_hours') AS is_closed,
        bool_or(exception.provider_id IS NOT NULL) AS has_own
    FROM desk
    JOIN scheduling_availabilityexception AS exception
        ON exception.facility_id = desk.facility_id
        AND (exception.provider_id IS NULL OR exception.provider_id = desk.provider_id)
    JOIN day ON day.date = exception.date
    GROUP BY desk.facility_id, desk.provider_id, day.date, day.weekday
),
-- Special hours are cut into the kinds of slot of that weekday, or of any where that has none.
pattern AS (
    SELECT DISTINCT ON (facility_id, provider_id, date, service_id, length, step) *
    FROM (
        SELECT
            rule.*,
            replaced.date,
            replaced.has_own,
            rank() OVER (
                PARTITION BY replaced.facility_id, replaced.provider_id, replaced.date
                ORDER BY rule.weekday <> replaced.weekday
            ) AS choice
        FROM replaced
        JOIN rule
            ON rule.facility_id = replaced.facility_id
            AND rule.provider_id = replaced.provider_id
            AND replaced.date BETWEEN rule.valid_from AND rule.valid_until
        WHERE NOT replaced.is_closed
    ) AS valid
    WHERE choice = 1
    ORDER BY facility_id, provider_id, date, service_id, length, step, id
),
opening AS (
    SELECT
        rule.id, rule.tenant_id, rule.facility_id, rule.provider_id, rule.service_id,
        rule.timezone, rule.length, rule.step,
        day.date, rule.start_time, rule.end_time
    FROM rule
    JOIN day
        ON day.weekday = rule.weekday AND day.date BETWEEN rule.valid_from AND rule.valid_until
    WHERE NOT EXISTS (
        SELECT
        FROM replaced
        WHERE replaced.facility_id = rule.facility_id
            AND replaced.provider_id = rule.provider_id
            AND replaced.date = day.date
    )
    UNION ALL
    SELECT
        pattern.id, pattern.tenant_id, pattern.facility_id, pattern.provider_id, pattern.service_id,
        pattern.timezone, pattern.length, pattern.step,
        pattern.date, exception.start_time, exception.end_time
    FROM pattern
    JOIN scheduling_availabilityexception AS exception
        ON exception.facility_id = pattern.facility_id
        AND exception.date = pattern.date
        AND exception.kind = 'special_hours'
        AND exception.provider_id
            IS NOT DISTINCT FROM CASE WHEN pattern.has_own THEN pattern.provider_id END
),
-- The instants at which local time lies in the opening.
piece AS (
    SELECT
        opening.id, opening.tenant_id, opening.facility_id, opening.provider_id, opening.service_id,
        opening.length, opening.step, opening.date,
        unnest(
            range_agg(
                regime.period * tstzrange(
                    (opening.date + opening.start_time - regime.utc_offset) AT TIME ZONE 'UTC',
                    (
                        opening.date + opening.end_time - regime.utc_offset
                        + CASE
                            WHEN opening.end_time > opening.start_time THEN interval '0'
                            ELSE interval '1 day'
                        END
                    ) AT TIME ZONE 'UTC'
                )
            )
        ) AS period
    FROM opening
    JOIN regime ON regime.zone = opening.timezone
    GROUP BY
        opening.id, opening.tenant_id, opening.facility_id, opening.provider_id, opening.service_id,
        opening.length, opening.step, opening.date, opening.start_time, opening.end_time
),
claim AS (
    SELECT slot.provider_id, range_agg(slot.period) AS periods
    FROM scheduling_slot AS slot
    WHERE slot.status IN ('reserved', 'held', 'booked')
        AND slot.provider_id IN (SELECT desk.provider_id FROM desk)
        AND slot.period && tstzrange(%(first)s::date - 2, %(last)s::date + 4)
    GROUP BY slot.provider_id
),
block AS (
    SELECT desk.facility_id, desk.provider_id, range_agg(block.period) AS periods
    FROM desk
    JOIN scheduling_timeblock AS block
        ON block.facility_id = desk.facility_id
        AND (block.provider_id IS NULL OR block.provider_id = desk.provider_id)
    GROUP BY desk.facility_id, desk.provider_id
),
made AS (
    SELECT
        piece.id AS rule_id,
        piece.tenant_id,
        piece.facility_id,
        piece.provider_id,
        piece.service_id,
        tstzrange(starts_at, starts_at + piece.length) AS period,
        piece.date BETWEEN %(first)s AND %(last)s AS is_asked_for,
        claims && tstzrange(starts_at, starts_at + piece.length) AS is_claimed,
        blocks && tstzrange(starts_at, starts_at + piece.length) AS is_blocked
    FROM (
        -- Of claims and blocks only those that matter, since each slot is compared with them.
        SELECT
            piece.*,
            claim.periods * tstzmultirange(piece.period) AS claims,
            block.periods * tstzmultirange(piece.period) AS blocks
        FROM piece
        LEFT JOIN claim ON claim.provider_id = piece.provider_id
        LEFT JOIN block
            ON block.facility_id = piece.facility_id AND block.provider_id = piece.provider_id
    ) AS piece
    CROSS JOIN LATERAL generate_series(
        lower(piece.period), upper(piece.period) - piece.length, piece.step
    ) AS starts_at
),
-- What is there, on the dates asked for and in the night after.
present AS (
    SELECT
        slot.id, slot.facility_id, slot.provider_id, slot.service_id, slot.period,
        -- Null where it may stay as it is whatever is made: past, or made by hand.
        CASE
            WHEN lower(slot.period) <= %(now)s THEN NULL
            WHEN slot.status = 'retired' OR slot.superseded THEN false
            WHEN slot.rule_id IS NOT NULL THEN true
        END AS is_alive
    FROM (
        SELECT
            facility.id,
            regime.period * tstzrange(
                (%(first)s::date - regime.utc_offset) AT TIME ZONE 'UTC',
                (%(last)s::date + interval '2 days' - regime.utc_offset) AT TIME ZONE 'UTC'
            ) AS period
        FROM scheduling_facility AS facility
        JOIN regime ON regime.zone = facility.timezone
        WHERE facility.id = ANY(%(facilities)s)
    ) AS place
    -- Periods sort by their start, so this is a range of the unique index.
    JOIN scheduling_slot AS slot
        ON slot.facility_id = place.id
        AND slot.period >= tstzrange(lower(place.period), lower(place.period), '[]')
        AND slot.period < tstzrange(upper(place.period), upper(place.period), '[]')
    WHERE NOT isempty(place.period)
        AND (%(provider)s::uuid IS NULL OR slot.provider_id = %(provider)s)
),
-- Both sides put together and grouped rather than joined: how many rows there are on either side is
-- beyond what the planner can estimate, and a nested loop over them would never end. It also makes one
-- slot of what two rules make.
compared AS MATERIALIZED (
    SELECT
        facility_id,
        provider_id,
        service_id,
        period,
        any_value(tenant_id) AS tenant_id,
        any_value(rule_id) AS rule_id,
        bool_or(is_asked_for) AS is_asked_for,
        any_value(is_claimed) AS is_claimed,
        any_value(is_blocked) AS is_blocked,
        any_value(id) AS id,
        any_value(is_alive) AS is_alive
    FROM (
        SELECT
            facility_id, provider_id, service_id, period,
            tenant_id, rule_id, is_asked_for, is_claimed, is_blocked,
            NULL::uuid AS id, NULL::boolean AS is_alive
        FROM made
        UNION ALL
        SELECT
            facility_id, provider_id, service_id, period,
            NULL, NULL, NULL, NULL, NULL,
            id, is_alive
        FROM present
    ) AS side
    GROUP BY facility_id, provider_id, service_id, period
),
inserted AS (
    INSERT INTO scheduling_slot (
        tenant_id, facility_id, provider_id, service_id, period, status, superseded, rule_id
    )
    SELECT
        tenant_id, facility_id, provider_id, service_id, period,
        CASE WHEN is_blocked THEN 'blocked' ELSE 'open' END, false, rule_id
    FROM compared
    WHERE id IS NULL
        AND is_asked_for
        AND is_claimed IS NOT TRUE
        AND (%(since)s::timestamptz IS NULL OR lower(period) > %(since)s)
    ON CONFLICT ON CONSTRAINT slot_once DO NOTHING
    RETURNING rule_id
)
SELECT 'created' AS what, CASE WHEN %(by_rule)s THEN rule_id END AS rule_id, count(*), NULL AS ids
FROM inserted
GROUP BY 2
UNION ALL
SELECT CASE WHEN is_alive THEN 'stale' ELSE 'made' END, NULL, count(*), array_agg(id)::text
FROM compared
WHERE is_alive <> (rule_id IS NOT NULL)
GROUP BY 1
