-- Facilities with an open slot, but for those whose last pass left none to try and of which nothing
-- changed since, and those of which a change is uncounted: (facility), some twice. Takes no lock.
-- One probe of an index for each facility; kept apart from `find_fillable`, since what a scan of nothing
-- new costs is to be planned, not read.
-- A change that was under way when the pass ended may show up to five minutes later.
SELECT queue.facility_id
FROM (
    SELECT
        facility_id, revision, supply_revision, deactivated_at,
        sum(visitors_revision) OVER (PARTITION BY tenant_id) AS visitors_revision
    FROM waitlist_queue
) AS queue
LEFT JOIN waitlist_drypass AS dry ON dry.facility_id = queue.facility_id
    AND dry.revision = queue.revision
    AND dry.visitors_revision = queue.visitors_revision
    AND dry.supply_revision = queue.supply_revision
    AND dry.until > %(now)s
WHERE queue.deactivated_at IS NULL
    AND EXISTS (
        SELECT FROM scheduling_slot AS slot
        WHERE slot.facility_id = queue.facility_id
            AND slot.status = 'open'
            AND slot.updated_at > coalesce(dry.updated_at - interval '5 minutes', '-infinity')
    )
UNION ALL
SELECT facility_id FROM waitlist_uncounted
