-- What systems are told of the given events, in their order: kind, place, time, ids, statuses,
-- position that the event tells, how many patients wait, end of the hold; then, where %(contact)s, how to
-- reach the patient and what they want to be told. How many wait at another tenant's facility is
-- not told. Takes no lock.
WITH told AS (
    SELECT event.*, place.seq
    FROM audit_event AS event
    JOIN audit_eventseq AS place ON place.event_id = event.id
    WHERE event.id = ANY(%(events)s::uuid[])
),
depth AS (
    SELECT entry.facility_id, count(*) AS entries
    FROM waitlist_waitlistentry AS entry
    WHERE entry.facility_id IN (SELECT facility_id FROM told WHERE entry_id IS NOT NULL)
        AND entry.status IN ('waiting', 'offered')
        -- Patients: how many organizers wait is for nobody, least of all the owner.
        AND entry.patient_id IS NOT NULL
    GROUP BY entry.facility_id
)
SELECT
    told.kind, told.seq, told.at,
    told.tenant_id, told.entry_id, told.hold_id, told.slot_id, told.facility_id, told.provider_id,
    who.patient_id,
    CASE WHEN facility.kind = 'venue' THEN facility.id END,
    coalesce(entry.organizer_id, (told.data ->> 'organization_id')::uuid), source.rfp_id,
    told.previous_status, told.new_status, (told.data ->> 'position')::int,
    CASE
        WHEN told.entry_id IS NOT NULL AND facility.tenant_id = told.tenant_id
            THEN coalesce(depth.entries, 0)
    END,
    hold.expires_at,
    CASE
        WHEN %(contact)s AND patient.erased_at IS NULL AND patient.id IS NOT NULL
            THEN jsonb_build_object(
                'name', patient.name, 'email', patient.email, 'phone', patient.phone,
                'language', patient.language
            )
    END,
    CASE
        WHEN %(contact)s AND patient.erased_at IS NULL AND patient.id IS NOT NULL
            THEN jsonb_build_object(
                'waitlist_reminders', coalesce(preference.waitlist_reminders, TRUE),
                'email', coalesce(preference.email, TRUE),
                'sms', coalesce(preference.sms, TRUE),
                'whatsapp', coalesce(preference.whatsapp, TRUE)
            )
    END
FROM told
LEFT JOIN scheduling_facility AS facility ON facility.id = told.facility_id
LEFT JOIN depth ON depth.facility_id = told.facility_id
LEFT JOIN waitlist_waitlistentry AS entry ON entry.id = told.entry_id
LEFT JOIN availability_rfpvenue AS source ON source.id = entry.rfp_venue_id
LEFT JOIN waitlist_hold AS hold ON hold.id = told.hold_id
LEFT JOIN scheduling_appointment AS appointment
    ON told.subject_type = 'appointment' AND appointment.id = told.subject_id
CROSS JOIN LATERAL (
    SELECT coalesce(
        entry.patient_id, appointment.patient_id,
        CASE told.subject_type WHEN 'patient' THEN told.subject_id END
    )
) AS who (patient_id)
LEFT JOIN scheduling_patient AS patient ON patient.id = who.patient_id
LEFT JOIN notifications_preference AS preference
    ON preference.tenant_id = told.tenant_id AND preference.patient_id = patient.id
ORDER BY told.seq
