-- Count the queues on by what triggers wrote down as uncounted, and forget it: (facility). Locks them, by
-- facility; those that somebody has locked are left to the next run, with what concerns them.
WITH queue AS (
    SELECT facility_id
    FROM waitlist_queue
    WHERE facility_id IN (SELECT facility_id FROM waitlist_uncounted)
    ORDER BY facility_id
    FOR NO KEY UPDATE SKIP LOCKED
),
counted AS (
    DELETE FROM waitlist_uncounted AS uncounted
    USING queue
    WHERE uncounted.facility_id = queue.facility_id
    RETURNING
        uncounted.facility_id, uncounted.revision, uncounted.visitors_revision,
        uncounted.supply_revision
),
change AS (
    SELECT
        facility_id, max(revision) AS revision, max(visitors_revision) AS visitors_revision,
        max(supply_revision) AS supply_revision
    FROM counted
    GROUP BY facility_id
)
UPDATE waitlist_queue AS queue
SET
    revision = queue.revision + change.revision,
    visitors_revision = queue.visitors_revision + change.visitors_revision,
    supply_revision = queue.supply_revision + change.supply_revision
FROM change
WHERE queue.facility_id = change.facility_id
RETURNING queue.facility_id
