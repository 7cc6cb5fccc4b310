-- Note that a pass left no slot to try at a facility: `find_opened` passes it by until its queue changes,
-- a slot opens or comes near, or a day has gone. Locks the note, which nobody else does while the
-- facility is being filled.
INSERT INTO waitlist_drypass (
    facility_id, tenant_id, tried_at, until, revision, visitors_revision, supply_revision
)
SELECT
    policy.facility_id, policy.tenant_id, %(now)s,
    -- A day after the oldest of the attempts, or when the next slot comes near enough to be offered.
    least(
        %(now)s + interval '24 hours',
        (
            SELECT min(fruitless.tried_at) + interval '24 hours'
            FROM scheduling_slot AS slot
            JOIN waitlist_fruitless AS fruitless ON fruitless.slot_id = slot.id
            WHERE slot.facility_id = policy.facility_id
                AND slot.status = 'open'
                AND lower(slot.period) >= %(now)s + policy.min_notice + policy.min_hold
                AND lower(slot.period) <= %(now)s + policy.look_ahead
        ),
        (
            SELECT min(lower(later.period)) - policy.look_ahead
            FROM scheduling_slot AS later
            WHERE later.facility_id = policy.facility_id
                AND later.status = 'open'
                AND lower(later.period) > %(now)s + policy.look_ahead
        )
    ),
    %(revision)s, %(visitors_revision)s, %(supply_revision)s
FROM waitlist_waitlistpolicy AS policy
WHERE policy.facility_id = %(facility)s
ON CONFLICT (facility_id) DO UPDATE SET
    tried_at = excluded.tried_at,
    until = excluded.until,
    revision = excluded.revision,
    visitors_revision = excluded.visitors_revision,
    supply_revision = excluded.supply_revision
