-- The open slots of one facility that a change of slots and entries concerns: (id). Of a slot, itself and
-- what its claim hid, the others of its provider at the time; of a patient's entry, those that its
-- service, provider and dates allow. Takes no lock.
SELECT slot.id::text
FROM scheduling_slot AS freed
JOIN scheduling_slot AS slot
    ON slot.facility_id = freed.facility_id
    AND slot.provider_id = freed.provider_id
    AND slot.period && freed.period
WHERE freed.id = ANY(%(changed)s::uuid[])
    AND slot.facility_id = %(facility)s
    AND slot.status = 'open'
UNION
SELECT slot.id::text
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
