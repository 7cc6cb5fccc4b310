-- The open slots of one facility that a change of slots and entries concerns: (id). The slots themselves,
-- those that the service, the provider and the dates of the patients' entries allow, and what stands or
-- falls with them: the other open slots of the provider that overlap them, or others that do, since of
-- those the one that ends first stays. Takes no lock.
WITH concerned AS MATERIALIZED (
    SELECT id, provider_id
    FROM scheduling_slot
    WHERE id = ANY(%(changed)s::uuid[]) AND facility_id = %(facility)s
    UNION
    SELECT slot.id, slot.provider_id
    FROM waitlist_waitlistentry AS entry
    JOIN scheduling_slot AS slot
        ON slot.facility_id = %(facility)s
        AND slot.status = 'open'
        AND lower(slot.period) >= greatest(%(first)s, entry.earliest)
        AND lower(slot.period) <= least(%(last)s, entry.latest)
        AND upper(slot.period) <= coalesce(entry.latest, 'infinity')
        AND (entry.service_id IS NULL OR slot.service_id IS NULL OR entry.service_id = slot.service_id)
        AND (NOT entry.provider_required OR entry.provider_id = slot.provider_id)
    WHERE entry.id = ANY(%(changed)s::uuid[])
        AND entry.status = 'waiting'
        AND entry.patient_id IS NOT NULL
),
open AS MATERIALIZED (
    SELECT
        id, provider_id, period,
        max(upper(period)) OVER (
            PARTITION BY provider_id
            ORDER BY lower(period), id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS others_end
    FROM scheduling_slot
    WHERE facility_id = %(facility)s
        AND status = 'open'
        AND lower(period) >= %(first)s
        AND lower(period) <= %(last)s
        AND provider_id IN (SELECT provider_id FROM concerned)
),
-- Slots without a gap between them have the same number.
numbered AS (
    SELECT
        id, provider_id,
        count(*) FILTER (WHERE others_end <= lower(period)) OVER (
            PARTITION BY provider_id ORDER BY lower(period), id
        ) AS gaps
    FROM open
)
SELECT id::text
FROM numbered
WHERE (provider_id, gaps) IN (
    SELECT numbered.provider_id, numbered.gaps FROM numbered JOIN concerned USING (id)
)
