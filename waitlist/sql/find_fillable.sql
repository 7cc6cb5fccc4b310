-- Facilities where a pass may find something to do: somebody waits, at them or for any facility, and a
-- coming slot is open that was not tried in vain. Takes no lock.
-- Where the last pass left nothing to try, one probe of an index tells: no open slot has changed since.
-- A change that was under way then may show up to five minutes later.
WITH visitors AS (
    SELECT tenant_id, sum(visitors_revision) AS revision
    FROM waitlist_queue
    GROUP BY tenant_id
),
opened AS MATERIALIZED (
    SELECT queue.facility_id, queue.tenant_id
    FROM waitlist_queue AS queue
    JOIN waitlist_waitlistpolicy AS policy ON policy.facility_id = queue.facility_id
    JOIN visitors ON visitors.tenant_id = queue.tenant_id
    LEFT JOIN waitlist_drypass AS dry ON dry.facility_id = queue.facility_id
        AND dry.revision = queue.revision
        AND dry.visitors_revision = visitors.revision
        AND dry.until > %(now)s
    WHERE policy.auto_invite
        AND queue.deactivated_at IS NULL
        AND CASE
            WHEN dry.facility_id IS NULL THEN EXISTS (
                SELECT FROM scheduling_slot AS slot
                WHERE slot.facility_id = queue.facility_id
                    AND slot.status = 'open'
                    AND lower(slot.period) >= %(now)s + policy.min_notice + policy.min_hold
                    AND lower(slot.period) <= %(now)s + policy.look_ahead
            )
            ELSE EXISTS (
                SELECT FROM scheduling_slot AS slot
                WHERE slot.facility_id = queue.facility_id
                    AND slot.status = 'open'
                    AND slot.updated_at > dry.updated_at - interval '5 minutes'
            )
        END
)
SELECT opened.facility_id
FROM opened
WHERE EXISTS (
        SELECT FROM waitlist_waitlistentry AS entry
        WHERE entry.facility_id = opened.facility_id AND entry.status = 'waiting'
    )
    OR EXISTS (
        SELECT FROM waitlist_waitlistentry AS entry
        WHERE entry.tenant_id = opened.tenant_id
            AND entry.status = 'waiting'
            AND entry.any_facility
    )
ORDER BY opened.facility_id
