-- The floor of a relay: the rows that are known to come of it, one statement for each table, and the
-- events taken off the list. Looks at nothing. Locks the rows that it deletes.
INSERT INTO audit_eventseq SELECT * FROM known_eventseq;

INSERT INTO notifications_message SELECT * FROM known_message;

INSERT INTO notifications_webhookdelivery SELECT * FROM known_webhookdelivery;

DELETE FROM audit_unrelayed
