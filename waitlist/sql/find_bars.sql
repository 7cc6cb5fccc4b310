-- Which slots the patients who wait for a facility, or the given ones of them, are kept from although
-- their wishes may be met: (entry, slot, rule). What somebody was offered before or has cancelled is not
-- offered to them again, whichever of their entries it was. An offer that was withdrawn does not count,
-- unless it was taken back by hand. Takes no lock.
WITH slot AS MATERIALIZED (
    SELECT id, period FROM scheduling_slot WHERE id = ANY(%(slots)s::uuid[])
),
span AS MATERIALIZED (
    SELECT range_merge(range_agg(period)) AS period FROM slot
),
entry AS MATERIALIZED (
    SELECT id, patient_id
    FROM waitlist_waitlistentry
    WHERE %(entries)s::uuid[] IS NULL AND status = 'waiting'
        AND CASE WHEN patient_id IS NOT NULL THEN facility_id END = %(facility)s
    UNION ALL
    SELECT id, patient_id
    FROM waitlist_waitlistentry
    WHERE %(entries)s::uuid[] IS NULL AND tenant_id = %(tenant)s AND any_facility
        AND status = 'waiting' AND facility_id <> %(facility)s
    UNION ALL
    SELECT id, patient_id
    FROM waitlist_waitlistentry
    WHERE id = ANY(%(entries)s::uuid[])
),
-- What somebody has had is read, by the plain indexes on the patient. The CASE hides the status, or an
-- index of everybody's claims would be taken: the GiST one of appointments read 26 pages for each patient
-- among 5,000. OFFSET 0 keeps it a probe for each.
busy AS MATERIALIZED (
    SELECT entry.id, claim.period
    FROM entry
    CROSS JOIN LATERAL (
        SELECT period
        FROM scheduling_appointment
        WHERE patient_id = entry.patient_id
            AND CASE WHEN status = 'booked' THEN period END && (SELECT period FROM span)
        UNION ALL
        SELECT period
        FROM waitlist_hold
        WHERE patient_id = entry.patient_id
            AND CASE WHEN status = 'offered' THEN period END && (SELECT period FROM span)
        OFFSET 0
    ) AS claim
)
SELECT
    entry.id::text, slot.id::text,
    CASE WHEN hold.taken_back THEN 'taken_back' ELSE 'offered_before' END
FROM slot
JOIN waitlist_hold AS hold
    ON hold.slot_id = slot.id AND (hold.status <> 'withdrawn' OR hold.taken_back)
JOIN entry ON entry.patient_id = hold.patient_id
UNION ALL
SELECT entry.id::text, slot.id::text, 'cancelled_before'
FROM slot
JOIN scheduling_appointment AS appointment
    ON appointment.slot_id = slot.id AND appointment.status = 'cancelled'
JOIN entry ON entry.patient_id = appointment.patient_id
UNION ALL
SELECT busy.id::text, slot.id::text, 'patient_busy'
FROM busy
JOIN slot ON slot.period && busy.period
