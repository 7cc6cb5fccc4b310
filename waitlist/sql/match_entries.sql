-- Which waiting entries fit which of the given slots of one facility (domain.md, "Which entry fits which
-- slot"), with the score of each pair: (slot, entry, version, requester, score, visitor, rank_key,
-- joined_at). Takes no lock.
-- With n slots in the run, the n requesters that a slot would take first are all it can need: each
-- other slot takes at most one of them away. A requester's best entry for a slot stands for the rest.
WITH slot AS (
    SELECT
        slot.id, slot.tenant_id, slot.facility_id, slot.provider_id, slot.service_id, slot.period,
        extract(isodow FROM lower(slot.period) AT TIME ZONE facility.timezone)::int AS weekday,
        CASE
            WHEN (lower(slot.period) AT TIME ZONE facility.timezone)::time < '12:00' THEN 'morning'
            WHEN (lower(slot.period) AT TIME ZONE facility.timezone)::time < '17:00' THEN 'afternoon'
            ELSE 'evening'
        END AS part_of_day,
        policy.match_provider, policy.match_location, policy.match_service, policy.match_days,
        policy.min_match_score
    FROM scheduling_slot AS slot
    JOIN scheduling_facility AS facility ON facility.id = slot.facility_id
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = slot.facility_id
    WHERE slot.id = ANY(%(slots)s)
),
fitting AS (
    SELECT
        slot.id AS slot_id, entry.id AS entry_id, entry.version, entry.patient_id,
        entry.facility_id <> slot.facility_id AS visitor, entry.rank_key, entry.joined_at,
        slot.min_match_score,
        slot.match_service
        + CASE
            WHEN entry.provider_id IS NULL OR entry.provider_id = slot.provider_id
            THEN slot.match_provider ELSE 0
        END
        + CASE WHEN entry.facility_id = slot.facility_id THEN slot.match_location ELSE 0 END
        + CASE
            WHEN (entry.preferred_days = '{}' OR slot.weekday = ANY(entry.preferred_days))
                AND entry.preferred_time IN ('any', slot.part_of_day)
            THEN slot.match_days ELSE 0
        END AS score
    FROM slot
    JOIN waitlist_waitlistentry AS entry
        ON entry.tenant_id = slot.tenant_id
        AND (entry.facility_id = slot.facility_id OR entry.any_facility)
    JOIN waitlist_queue AS queue ON queue.facility_id = entry.facility_id
    JOIN waitlist_waitlistpolicy AS own ON own.facility_id = entry.facility_id
    LEFT JOIN scheduling_service AS service
        ON service.id = coalesce(entry.service_id, slot.service_id)
    WHERE entry.status = 'waiting'
        AND (%(entries)s::uuid[] IS NULL OR entry.id = ANY(%(entries)s::uuid[]))
        AND entry.patient_id IS NOT NULL
        AND entry.expires_at > %(now)s
        AND queue.deactivated_at IS NULL
        AND (entry.service_id IS NULL OR slot.service_id IS NULL OR entry.service_id = slot.service_id)
        AND (service.id IS NULL OR service.duration <= upper(slot.period) - lower(slot.period))
        AND (own.max_offers_per_entry IS NULL OR entry.offers_made < own.max_offers_per_entry)
        AND (NOT entry.provider_required OR entry.provider_id = slot.provider_id)
        AND (entry.earliest IS NULL OR entry.earliest <= lower(slot.period))
        AND (entry.latest IS NULL OR entry.latest >= upper(slot.period))
        AND NOT EXISTS (
            SELECT FROM waitlist_hold AS earlier
            WHERE earlier.entry_id = entry.id AND earlier.slot_id = slot.id
        )
        AND NOT EXISTS (
            SELECT FROM scheduling_appointment AS appointment
            WHERE appointment.patient_id = entry.patient_id
                AND appointment.status = 'booked'
                AND appointment.period && slot.period
        )
        AND NOT EXISTS (
            SELECT FROM waitlist_hold AS live
            WHERE live.patient_id = entry.patient_id
                AND live.status = 'offered'
                AND live.period && slot.period
        )
),
best AS (
    SELECT DISTINCT ON (slot_id, patient_id) *
    FROM fitting
    WHERE score >= min_match_score
    ORDER BY
        slot_id, patient_id, score DESC, visitor,
        (CASE WHEN visitor THEN 0 ELSE rank_key END) DESC, joined_at, entry_id
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY slot_id
            ORDER BY
                score DESC, visitor, (CASE WHEN visitor THEN 0 ELSE rank_key END) DESC, joined_at,
                entry_id
        ) AS nth
    FROM best
)
SELECT
    slot_id, entry_id, version, patient_id, score,
    -- The order of the run: people of the facility by rank, then visitors by joining.
    dense_rank() OVER (
        ORDER BY visitor, (CASE WHEN visitor THEN 0 ELSE rank_key END) DESC, joined_at, entry_id
    ) AS place
FROM ranked
WHERE nth <= cardinality(%(slots)s::uuid[])
