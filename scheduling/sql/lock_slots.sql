-- Lock slots, by id, once their providers are locked. Reads nothing.
SELECT
FROM scheduling_slot
WHERE id = ANY(%(slots)s::uuid[])
ORDER BY id
FOR NO KEY UPDATE
