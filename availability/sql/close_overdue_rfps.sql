-- Note which venues did not answer in time, for at most %(limit)s sent RFPs whose deadline is over;
-- (id of the venue's copy, RFP). Locks the RFPs, by id, skipping locked ones: who answers locks them.
WITH due AS (
    SELECT rfp.id
    FROM availability_rfp AS rfp
    WHERE rfp.status = 'sent'
        AND rfp.response_deadline <= %(now)s
        AND EXISTS (
            SELECT FROM availability_rfpvenue AS target
            WHERE target.rfp_id = rfp.id AND target.status = 'pending'
        )
    ORDER BY rfp.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
),
late AS (
    UPDATE availability_rfpvenue AS target
    SET status = 'no_response'
    FROM due
    WHERE target.rfp_id = due.id AND target.status = 'pending'
    RETURNING target.id, target.rfp_id, target.facility_id, target.tenant_id
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, facility_id, previous_status,
        new_status, data, at
    )
    SELECT
        tenant_id, 'rfp.no_response', 'rfp_venue', id, 'system', facility_id, 'pending',
        'no_response', jsonb_build_object('rfp_id', rfp_id), %(now)s
    FROM late
)
SELECT id, rfp_id FROM late
