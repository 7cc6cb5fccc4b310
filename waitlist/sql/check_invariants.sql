-- Every row that breaks an invariant of domain.md: (number of the invariant, what is wrong, its id).
-- Takes no lock; run it while nothing is written, or inside one snapshot.
SELECT 1, 'provider claimed twice at once', slot.id
FROM scheduling_slot AS slot
JOIN scheduling_slot AS other
    ON other.provider_id = slot.provider_id AND other.period && slot.period AND other.id <> slot.id
WHERE slot.status IN ('reserved', 'held', 'booked') AND other.status IN ('reserved', 'held', 'booked')
UNION ALL
SELECT 2, 'two live holds of one slot', slot_id
FROM waitlist_hold WHERE status = 'offered' AND slot_id IS NOT NULL
GROUP BY slot_id HAVING count(*) > 1
UNION ALL
SELECT 2, 'two live holds of one entry', entry_id
FROM waitlist_hold WHERE status = 'offered' GROUP BY entry_id HAVING count(*) > 1
UNION ALL
SELECT 2, 'two live holds without slot in one queue', facility_id
FROM waitlist_hold WHERE status = 'offered' AND slot_id IS NULL
GROUP BY facility_id HAVING count(*) > 1
UNION ALL
SELECT 2, 'overlapping live holds of one patient', hold.id
FROM waitlist_hold AS hold
JOIN waitlist_hold AS other
    ON other.patient_id = hold.patient_id AND other.period && hold.period AND other.id <> hold.id
WHERE hold.status = 'offered' AND other.status = 'offered'
UNION ALL
SELECT 3, 'slot held without a live hold, or the reverse', slot.id
FROM scheduling_slot AS slot
LEFT JOIN waitlist_hold AS hold ON hold.slot_id = slot.id AND hold.status = 'offered'
WHERE (slot.status = 'held') <> (hold.id IS NOT NULL)
UNION ALL
SELECT 3, 'slot booked without an appointment, or the reverse', slot.id
FROM scheduling_slot AS slot
LEFT JOIN scheduling_appointment AS appointment
    ON appointment.slot_id = slot.id AND appointment.status <> 'cancelled'
WHERE (slot.status = 'booked') <> (appointment.id IS NOT NULL)
UNION ALL
SELECT 3, 'slot booked for two', slot_id
FROM scheduling_appointment WHERE status <> 'cancelled' GROUP BY slot_id HAVING count(*) > 1
UNION ALL
SELECT 3, 'slot reserved without a deadline, or the reverse', id
FROM scheduling_slot WHERE (status = 'reserved') <> (reserved_until IS NOT NULL)
UNION ALL
SELECT 4, 'entry offered without a live hold, or the reverse', entry.id
FROM waitlist_waitlistentry AS entry
LEFT JOIN waitlist_hold AS hold ON hold.entry_id = entry.id AND hold.status = 'offered'
WHERE (entry.status = 'offered') <> (hold.id IS NOT NULL)
UNION ALL
SELECT 4, 'entry converted to nothing or to two things, or the reverse', id
FROM waitlist_waitlistentry
WHERE (status = 'converted')::int <> num_nonnulls(appointment_id, converted_rfp_id)
UNION ALL
SELECT 4, 'RFP that two entries were converted to', converted_rfp_id
FROM waitlist_waitlistentry WHERE converted_rfp_id IS NOT NULL
GROUP BY converted_rfp_id HAVING count(*) > 1
UNION ALL
SELECT 4, 'RFP that is no copy of the one that its entry waited with', entry.id
FROM waitlist_waitlistentry AS entry
JOIN availability_rfpvenue AS source ON source.id = entry.rfp_venue_id
JOIN availability_rfp AS rfp ON rfp.id = entry.converted_rfp_id
WHERE rfp.duplicated_from_id IS DISTINCT FROM source.rfp_id
UNION ALL
SELECT 4, 'hold accepted, and its entry not converted', hold.id
FROM waitlist_hold AS hold
JOIN waitlist_waitlistentry AS entry ON entry.id = hold.entry_id
WHERE hold.status = 'accepted' AND entry.status <> 'converted'
UNION ALL
SELECT 4, 'queue deactivated without a breaker that is, or the reverse', queue.facility_id
FROM waitlist_queue AS queue
LEFT JOIN waitlist_circuitbreaker AS breaker
    ON breaker.facility_id = queue.facility_id AND breaker.status = 'deactivated'
WHERE (queue.deactivated_at IS NOT NULL) <> (breaker.id IS NOT NULL)
UNION ALL
SELECT 4, 'place offered while its breaker is open', hold.id
FROM waitlist_hold AS hold
JOIN waitlist_circuitbreaker AS breaker
    ON breaker.facility_id = hold.facility_id AND breaker.status <> 'resolved'
WHERE hold.status = 'offered' AND hold.slot_id IS NULL
UNION ALL
SELECT 4, 'appointment from the waitlist that no entry, or more than one, was converted to', appointment.id
FROM scheduling_appointment AS appointment
LEFT JOIN waitlist_waitlistentry AS entry ON entry.appointment_id = appointment.id
WHERE appointment.source = 'waitlist'
GROUP BY appointment.id
HAVING count(entry.id) <> 1
UNION ALL
SELECT 4, 'entry ended without a time, or the reverse', id
FROM waitlist_waitlistentry WHERE (status IN ('waiting', 'offered')) <> (closed_at IS NULL)
UNION ALL
SELECT 5, 'requester waits twice for the same', entry.id
FROM waitlist_waitlistentry AS entry
JOIN waitlist_waitlistentry AS other
    ON other.facility_id = entry.facility_id
    AND other.id <> entry.id
    AND (other.patient_id = entry.patient_id OR other.organizer_id = entry.organizer_id)
    AND other.provider_id IS NOT DISTINCT FROM entry.provider_id
JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = entry.facility_id
WHERE entry.status IN ('waiting', 'offered') AND other.status IN ('waiting', 'offered')
    AND (NOT policy.unique_per_service OR other.service_id IS NOT DISTINCT FROM entry.service_id)
UNION ALL
SELECT 6, 'patient booked twice at once', appointment.id
FROM scheduling_appointment AS appointment
JOIN scheduling_appointment AS other
    ON other.patient_id = appointment.patient_id
    AND other.period && appointment.period
    AND other.id <> appointment.id
WHERE appointment.status = 'booked' AND other.status = 'booked'
UNION ALL
SELECT 7, 'event neither numbered nor to be numbered, or both', event.id
FROM audit_event AS event
LEFT JOIN audit_eventseq AS numbered ON numbered.event_id = event.id
LEFT JOIN audit_unrelayed AS unrelayed ON unrelayed.event_id = event.id
WHERE (numbered.event_id IS NULL) = (unrelayed.event_id IS NULL)
UNION ALL
SELECT 7, 'entry that no event tells the status of', entry.id
FROM waitlist_waitlistentry AS entry
LEFT JOIN LATERAL (
    -- Of the events of its holds, an offer and a withdrawal say what the entry is; others are followed
    -- by an event of the entry.
    SELECT CASE event.new_status WHEN 'withdrawn' THEN 'waiting' ELSE event.new_status END AS status
    FROM audit_event AS event
    WHERE event.entry_id = entry.id AND event.subject_type IN ('entry', 'hold')
    ORDER BY event.id DESC
    LIMIT 1
) AS told ON true
WHERE told.status IS DISTINCT FROM entry.status
UNION ALL
SELECT 7, 'hold that no event tells the status of', hold.id
FROM waitlist_hold AS hold
LEFT JOIN LATERAL (
    SELECT CASE event.kind WHEN 'waitlist.converted' THEN 'accepted' ELSE event.new_status END AS status
    FROM audit_event AS event
    WHERE event.entry_id = hold.entry_id
        AND event.hold_id = hold.id
        AND (event.subject_type = 'hold' OR event.kind = 'waitlist.converted')
    ORDER BY event.id DESC
    LIMIT 1
) AS told ON true
WHERE told.status IS DISTINCT FROM hold.status
UNION ALL
SELECT 7, 'breaker that no event tells the status of', breaker.id
FROM waitlist_circuitbreaker AS breaker
LEFT JOIN LATERAL (
    SELECT event.new_status AS status
    FROM audit_event AS event
    WHERE event.subject_id = breaker.id
    ORDER BY event.id DESC
    LIMIT 1
) AS told ON true
WHERE told.status IS DISTINCT FROM breaker.status
UNION ALL
SELECT 7, 'appointment that no event tells the status of', appointment.id
FROM scheduling_appointment AS appointment
LEFT JOIN LATERAL (
    SELECT event.new_status AS status
    FROM audit_event AS event
    WHERE event.subject_id = appointment.id
    ORDER BY event.id DESC
    LIMIT 1
) AS told ON true
WHERE told.status IS DISTINCT FROM appointment.status
UNION ALL
-- A slot has no event of its making, and none of its own where a hold or an appointment has one.
SELECT 7, 'slot in another status than its last event tells', slot.id
FROM scheduling_slot AS slot
CROSS JOIN LATERAL (
    SELECT event.new_status AS status
    FROM audit_event AS event
    WHERE event.subject_id = slot.id
    ORDER BY event.id DESC
    LIMIT 1
) AS told
WHERE slot.status NOT IN ('held', 'booked') AND told.status <> slot.status
UNION ALL
SELECT 7, 'RFP that no event tells the status of', rfp.id
FROM availability_rfp AS rfp
LEFT JOIN LATERAL (
    SELECT event.new_status AS status
    FROM audit_event AS event
    WHERE event.subject_id = rfp.id
    ORDER BY event.id DESC
    LIMIT 1
) AS told ON true
WHERE told.status IS DISTINCT FROM rfp.status
UNION ALL
-- That a venue is asked is told with the RFP.
SELECT 7, 'RFP at a venue in another status than its last event tells', target.id
FROM availability_rfpvenue AS target
LEFT JOIN LATERAL (
    SELECT event.new_status AS status
    FROM audit_event AS event
    WHERE event.subject_id = target.id
    ORDER BY event.id DESC
    LIMIT 1
) AS told ON true
WHERE coalesce(told.status, 'pending') <> target.status
UNION ALL
SELECT 8, 'event that says more than its kind may', event.id
FROM audit_event AS event
LEFT JOIN jsonb_each(%(kinds)s::jsonb) AS known (kind, keys) ON known.kind = event.kind
WHERE known.kind IS NULL
    OR EXISTS (SELECT FROM jsonb_object_keys(event.data) AS key WHERE NOT known.keys ? key)
UNION ALL
SELECT 9, 'hold of another tenant than its entry', hold.id
FROM waitlist_hold AS hold
JOIN waitlist_waitlistentry AS entry ON entry.id = hold.entry_id
WHERE hold.tenant_id <> entry.tenant_id
    OR hold.patient_id IS DISTINCT FROM entry.patient_id
UNION ALL
SELECT 9, 'entry of another tenant than its requester or facility', entry.id
FROM waitlist_waitlistentry AS entry
JOIN scheduling_facility AS facility ON facility.id = entry.facility_id
LEFT JOIN scheduling_patient AS patient ON patient.id = entry.patient_id
WHERE entry.tenant_id <> coalesce(patient.tenant_id, entry.organizer_id)
    OR (entry.organizer_id IS NULL AND entry.tenant_id <> facility.tenant_id)
UNION ALL
SELECT 9, 'organizer who waits for another venue, or with another''s RFP', entry.id
FROM waitlist_waitlistentry AS entry
LEFT JOIN availability_rfpvenue AS source ON source.id = entry.rfp_venue_id
WHERE (entry.organizer_id, entry.facility_id)
    IS DISTINCT FROM (source.tenant_id, coalesce(source.facility_id, entry.facility_id))
UNION ALL
SELECT 9, 'patient who waits at a venue, or organizer who waits elsewhere or at their own', entry.id
FROM waitlist_waitlistentry AS entry
JOIN scheduling_facility AS facility ON facility.id = entry.facility_id
WHERE (entry.organizer_id IS NOT NULL) <> (facility.kind = 'venue')
    OR entry.organizer_id = facility.tenant_id
UNION ALL
SELECT 9, 'slot of another tenant than its facility, provider, service or rule', slot.id
FROM scheduling_slot AS slot
JOIN scheduling_facility AS facility ON facility.id = slot.facility_id
JOIN scheduling_provider AS provider ON provider.id = slot.provider_id
LEFT JOIN scheduling_service AS service ON service.id = slot.service_id
LEFT JOIN scheduling_availabilityrule AS rule ON rule.id = slot.rule_id
WHERE slot.tenant_id NOT IN (
    SELECT facility.tenant_id INTERSECT SELECT provider.tenant_id
    INTERSECT SELECT coalesce(service.tenant_id, slot.tenant_id)
    INTERSECT SELECT coalesce(rule.tenant_id, slot.tenant_id)
)
UNION ALL
SELECT 9, 'appointment that is at odds with its slot or patient', appointment.id
FROM scheduling_appointment AS appointment
JOIN scheduling_slot AS slot ON slot.id = appointment.slot_id
JOIN scheduling_patient AS patient ON patient.id = appointment.patient_id
WHERE appointment.tenant_id <> slot.tenant_id
    OR patient.tenant_id <> slot.tenant_id
    OR appointment.facility_id <> slot.facility_id
    OR appointment.provider_id <> slot.provider_id
    OR appointment.period <> slot.period
UNION ALL
SELECT 9, 'RFP of no organizer, or copied from another''s', rfp.id
FROM availability_rfp AS rfp
JOIN accounts_tenant AS tenant ON tenant.id = rfp.tenant_id
LEFT JOIN availability_rfp AS source ON source.id = rfp.duplicated_from_id
WHERE tenant.kind <> 'organizer' OR source.tenant_id <> rfp.tenant_id
UNION ALL
SELECT 9, 'RFP at what is no venue, or the organizer''s own, or of another tenant than the RFP', target.id
FROM availability_rfpvenue AS target
JOIN availability_rfp AS rfp ON rfp.id = target.rfp_id
JOIN scheduling_facility AS facility ON facility.id = target.facility_id
WHERE facility.kind <> 'venue' OR facility.tenant_id = target.tenant_id OR rfp.tenant_id <> target.tenant_id
UNION ALL
SELECT 9, 'venue without availability, or the reverse, or of another tenant', facility.id
FROM scheduling_facility AS facility
LEFT JOIN availability_venueavailability AS shown ON shown.facility_id = facility.id
WHERE (facility.kind = 'venue') <> (shown.facility_id IS NOT NULL) OR shown.tenant_id <> facility.tenant_id
UNION ALL
SELECT 9, 'signal of another tenant than its venue', signal.id
FROM availability_signal AS signal
JOIN scheduling_facility AS facility ON facility.id = signal.facility_id
WHERE facility.tenant_id <> signal.tenant_id
ORDER BY 1, 2, 3
