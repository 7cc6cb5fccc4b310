-- Give unrelayed events their places in the order: (first place, last place, how many). The relay's
-- advisory lock makes this the only one; locks the rows it takes by deleting them.
WITH batch AS (
    DELETE FROM audit_unrelayed
    WHERE event_id IN (SELECT event_id FROM audit_unrelayed ORDER BY event_id LIMIT %(limit)s)
    RETURNING event_id
),
placed AS (
    INSERT INTO audit_eventseq (event_id)
    SELECT event_id FROM batch ORDER BY event_id
    RETURNING seq
)
SELECT min(seq), max(seq), count(*) FROM placed
