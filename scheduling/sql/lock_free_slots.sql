-- Lock those of the slots that nobody has locked, by id: (id).
SELECT id
FROM scheduling_slot
WHERE id = ANY(%(slots)s::uuid[])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
