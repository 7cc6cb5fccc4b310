-- Lock slots, by id.
SELECT
FROM scheduling_slot
WHERE id = ANY(%(slots)s::uuid[])
ORDER BY id
FOR NO KEY UPDATE
