-- Lock the providers of slots, by id, before a claim is made. Reads nothing.
SELECT
FROM scheduling_provider
WHERE id IN (SELECT provider_id FROM scheduling_slot WHERE id = ANY(%(slots)s::uuid[]))
ORDER BY id
FOR NO KEY UPDATE
