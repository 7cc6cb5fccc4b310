-- Put slots where they belong now: `retired` when no rule makes them any longer, `blocked` when a block
-- overlaps them, else `open`; write down what happened to each. What is there already stays untouched.
-- The caller has locked the slots in an earlier statement, so that a block or a rule that changed
-- meanwhile is seen here.
WITH landing AS (
    SELECT
        slot.id,
        CASE
            WHEN slot.superseded THEN 'retired'
            WHEN EXISTS (
                SELECT FROM scheduling_timeblock AS block
                WHERE block.facility_id = slot.facility_id
                    AND (block.provider_id IS NULL OR block.provider_id = slot.provider_id)
                    AND block.period && slot.period
            ) THEN 'blocked'
            ELSE 'open'
        END AS status
    FROM scheduling_slot AS slot
    WHERE slot.id = ANY(%(slots)s::uuid[]) AND slot.status = %(was)s
),
landed AS (
    UPDATE scheduling_slot AS slot
    SET status = landing.status, superseded = false, reserved_until = NULL, reserved_by_id = NULL
    FROM landing
    WHERE slot.id = landing.id AND slot.status = %(was)s AND landing.status <> %(was)s
    RETURNING slot.id, slot.tenant_id, slot.facility_id, slot.provider_id, slot.status
),
written AS (
    INSERT INTO audit_event (
        tenant_id, kind, subject_type, subject_id, actor_type, actor_id,
        slot_id, facility_id, provider_id, previous_status, new_status, at
    )
    SELECT
        tenant_id, CASE status WHEN 'open' THEN 'slot.opened' ELSE 'slot.' || status END,
        'slot', id, %(actor_type)s, %(actor_id)s::uuid,
        id, facility_id, provider_id, %(was)s, status, %(now)s
    FROM landed
)
SELECT id, status, facility_id FROM landed
