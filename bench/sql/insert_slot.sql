-- An open slot of a replay, as a generated one is.
INSERT INTO scheduling_slot (id, tenant_id, facility_id, provider_id, period, status, superseded)
VALUES (%(id)s, %(tenant)s, %(facility)s, %(provider)s, %(period)s, 'open', false)
