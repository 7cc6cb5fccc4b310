-- What happened in a world: so many events, of those who wait in turn, that no relay has seen yet.
-- Each tenant has an endpoint that is told of them, and each patient an address. Takes no lock.
UPDATE scheduling_patient SET email = id || '@bench.example';

INSERT INTO notifications_webhookendpoint (
    tenant_id, url, kinds, is_active, secret, old_secret, disabled_reason
)
SELECT id, 'https://bench.example/', '{waitlist.joined,waitlist.requeued}', TRUE, 'none', '', ''
FROM accounts_tenant;

INSERT INTO audit_event (
    tenant_id, kind, subject_type, subject_id, actor_type, entry_id, facility_id, new_status, data,
    at
)
SELECT
    entry.tenant_id, CASE WHEN n %% 2 = 0 THEN 'waitlist.joined' ELSE 'waitlist.requeued' END,
    'entry', entry.id, 'system', entry.id, entry.facility_id, 'waiting', '{}', %(now)s
FROM generate_series(0, %(events)s - 1) AS n
JOIN (
    SELECT *, row_number() OVER (ORDER BY id) - 1 AS place FROM waitlist_waitlistentry
) AS entry ON entry.place = n %% (SELECT count(*) FROM waitlist_waitlistentry)
ORDER BY n
