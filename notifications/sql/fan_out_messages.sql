-- Write what people are told of the events from place %(first)s to %(last)s: one row for each event,
-- recipient and channel; (channel, how many are to be sent). What somebody does not want, or cannot
-- be sent, is a row too, and says why. What is told in the app is delivered with its row. An offer is
-- due when the time to answer it begins. Of what was moved, news is worth nothing only when both its
-- old and its new time are over.
-- The relay's advisory lock makes this the only one; locks nothing.
WITH rule AS (
    SELECT *
    FROM unnest(
        %(kinds)s::text[], %(recipients)s::text[], %(channels)s::text[], %(usual)s::boolean[]
    ) AS rule (kind, recipient, channel, is_usual)
),
told AS (
    SELECT event.*, place.seq
    FROM audit_eventseq AS place
    JOIN audit_event AS event ON event.id = place.event_id
    WHERE place.seq BETWEEN %(first)s AND %(last)s
        AND event.kind IN (SELECT kind FROM rule)
        -- Whoever leaves, or is offered or booked something else instead, is told of that.
        AND NOT (
            event.kind = 'waitlist.hold_withdrawn'
            AND event.data ->> 'reason' IN ('cancelled', 'replaced')
        )
),
recipient AS (
    SELECT 'requester' AS recipient, told.id AS event_id, entry.patient_id, NULL::uuid AS user_id
    FROM told
    JOIN waitlist_waitlistentry AS entry ON entry.id = told.entry_id
    WHERE entry.patient_id IS NOT NULL
    UNION ALL
    SELECT 'requester', told.id, NULL, member.user_id
    FROM told
    JOIN waitlist_waitlistentry AS entry ON entry.id = told.entry_id
    CROSS JOIN LATERAL (
        SELECT membership.user_id, joined.id IS NOT NULL AS joined
        FROM accounts_membership AS membership
        JOIN accounts_user AS member ON member.id = membership.user_id AND member.is_active
        LEFT JOIN audit_event AS joined
            ON joined.entry_id = entry.id
            AND joined.kind = 'waitlist.joined'
            AND joined.actor_id = membership.user_id
        WHERE membership.tenant_id = entry.organizer_id
            AND (joined.id IS NOT NULL OR membership.role = 'admin')
        ORDER BY 2 DESC
        FETCH FIRST 1 ROWS WITH TIES
    ) AS member
    UNION ALL
    SELECT 'patient', told.id, appointment.patient_id, NULL
    FROM told
    JOIN scheduling_appointment AS appointment ON appointment.id = told.subject_id
    UNION ALL
    SELECT 'admins', told.id, NULL, membership.user_id
    FROM told
    LEFT JOIN scheduling_facility AS facility ON facility.id = told.facility_id
    JOIN accounts_membership AS membership
        ON membership.tenant_id = coalesce(facility.tenant_id, told.tenant_id)
        AND membership.role = 'admin'
),
found AS (
    SELECT
        told.*, rule.channel, recipient.patient_id, recipient.user_id,
        coalesce(
            (told.data ->> 'expires_at')::timestamptz,
            greatest(
                (told.data ->> 'starts_at')::timestamptz,
                (told.data ->> 'from_starts_at')::timestamptz
            )
        ) AS deadline,
        greatest(%(now)s::timestamptz, (told.data ->> 'runs_from')::timestamptz) AS due,
        CASE told.subject_type
            WHEN 'appointment' THEN told.subject_id
            ELSE (told.data ->> 'appointment_id')::uuid
        END AS appointment_id,
        CASE rule.channel
            WHEN 'in_app' THEN TRUE
            WHEN 'email' THEN coalesce(preference.email, TRUE)
            WHEN 'sms' THEN coalesce(preference.sms, TRUE)
            WHEN 'whatsapp' THEN coalesce(preference.whatsapp, TRUE)
        END AS is_wanted,
        coalesce(preference.waitlist_reminders, TRUE)
            OR rule.channel = 'in_app'
            OR told.kind NOT LIKE 'waitlist.%%' AS is_subscribed,
        CASE rule.channel
            WHEN 'in_app' THEN ''
            WHEN 'email' THEN coalesce(patient.email, member.email)
            ELSE coalesce(patient.phone, member.phone)
        END AS address,
        coalesce(switch.is_on, TRUE) AS is_on
    FROM told
    JOIN rule ON rule.kind = told.kind
    JOIN recipient ON recipient.event_id = told.id AND recipient.recipient = rule.recipient
    LEFT JOIN scheduling_patient AS patient ON patient.id = recipient.patient_id
    LEFT JOIN accounts_user AS member ON member.id = recipient.user_id
    LEFT JOIN notifications_preference AS preference
        ON preference.tenant_id = told.tenant_id
        AND (preference.patient_id = recipient.patient_id OR preference.user_id = recipient.user_id)
    LEFT JOIN notifications_channelswitch AS switch
        ON switch.tenant_id = told.tenant_id
        AND switch.kind = told.kind
        AND switch.channel = rule.channel
    WHERE (rule.is_usual OR switch.is_on)
        AND patient.erased_at IS NULL
        AND member.is_active IS NOT FALSE
),
judged AS (
    SELECT
        found.*,
        CASE
            WHEN NOT is_on THEN 'switched_off'
            WHEN channel = 'in_app' THEN ''
            WHEN NOT is_subscribed THEN 'unsubscribed'
            WHEN NOT is_wanted THEN 'not_wanted'
            WHEN address = '' THEN 'no_address'
            WHEN channel <> ALL(%(live)s::text[]) THEN 'channel_off'
            WHEN deadline <= %(now)s THEN 'too_late'
            ELSE ''
        END AS reason
    FROM found
),
written AS (
    INSERT INTO notifications_message (
        tenant_id, event_id, seq, kind, facility_id, entry_id, hold_id, appointment_id, patient_id,
        user_id, channel, status, reason, attempts, next_attempt_at, deadline, provider_message_id,
        delivered_at, closed_at
    )
    SELECT
        tenant_id, id, seq, kind, facility_id, entry_id, hold_id, appointment_id, patient_id,
        user_id, channel, state.status, reason, 0,
        CASE WHEN state.status = 'queued' THEN due END, deadline, '',
        CASE WHEN state.status = 'delivered' THEN %(now)s::timestamptz END,
        CASE WHEN state.status = 'suppressed' THEN %(now)s::timestamptz END
    FROM judged
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN reason <> '' THEN 'suppressed'
            WHEN channel = 'in_app' THEN 'delivered'
            ELSE 'queued'
        END
    ) AS state (status)
    ORDER BY seq
    ON CONFLICT DO NOTHING
    RETURNING channel, status
)
SELECT channel, count(*) FROM written WHERE status = 'queued' GROUP BY channel
