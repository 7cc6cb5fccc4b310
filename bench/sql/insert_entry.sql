-- The floor of a join: one entry.
INSERT INTO waitlist_waitlistentry (
    tenant_id, facility_id, patient_id, provider_required, any_facility, preferred_days,
    preferred_time, dates_flexible, urgency, metadata, rank_key, joined_at, status, offers_made,
    expires_at, cancellation_reason, cancellation_notes
)
VALUES (
    %(tenant)s, %(facility)s, %(patient)s, false, false, '{}', 'any', false, 0, '{}', 0, %(now)s,
    'waiting', 0, %(now)s + interval '90 days', '', ''
)
RETURNING id
