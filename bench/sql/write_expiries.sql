-- The floor of an expiry: the rows that are known to lapse, one statement for each table. No check.
UPDATE waitlist_hold SET status = 'expired', closed_at = %(now)s
WHERE id IN (SELECT hold_id FROM known_event WHERE kind = 'waitlist.hold_expired');

UPDATE waitlist_waitlistentry SET status = 'waiting', offers_made = offers_made + 1
WHERE id IN (SELECT entry_id FROM known_event WHERE kind = 'waitlist.requeued');

UPDATE scheduling_slot SET status = 'open'
WHERE id IN (SELECT slot_id FROM known_event WHERE kind = 'slot.opened');

UPDATE waitlist_queue SET revision = revision + 1
WHERE facility_id IN (SELECT facility_id FROM known_event);

INSERT INTO audit_event SELECT * FROM known_event
