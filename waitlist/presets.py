"""The three worlds as policies, and the trigger that gives each new facility its own."""

import json
from typing import Any

CLINIC: dict[str, Any] = {
    "ordering": "score",
    "matching": "best_score",
    "hold_window": "24 hours",
    "reminder_lead": "4 hours",
    "on_hold_expiry": "requeue",
    "on_decline": "requeue",
    "max_offers_per_entry": None,
    "max_queue_size": 250,
    "max_active_per_requester": None,
    "unique_per_service": False,
    "auto_invite": True,
    "min_notice": "30 minutes",
    "look_ahead": "30 days",
    "min_hold": "5 minutes",
    "entry_ttl": "90 days",
    "grace": "0",
    "nudge_after": "60 days",
    "nudge_grace": "7 days",
    "breaker_threshold": None,
    "breaker_timeout": None,
    "match_provider": 40,
    "match_location": 30,
    "match_service": 20,
    "match_days": 10,
    "min_match_score": 50,
    "wait_per_day": 1,
    "membership": 2,
    "chronic": 3,
    "short_window": 1,
    "urgency": 5,
    "quiet_from": "21:00",
    "quiet_until": "08:00",
}

SALON: dict[str, Any] = CLINIC | {
    "ordering": "fifo",
    "hold_window": "15 minutes",
    "reminder_lead": None,
    "on_hold_expiry": "expire",
    "unique_per_service": True,
    "look_ahead": "14 days",
    "entry_ttl": "30 days",
    "nudge_after": None,
    "nudge_grace": None,
    "membership": 0,
    "chronic": 0,
    "short_window": 0,
    "urgency": 0,
}

# A venue's holds have no slot, so what concerns slots stands at the clinic's values, unused.
VENUE: dict[str, Any] = CLINIC | {
    "ordering": "fifo",
    "hold_window": "48 hours",
    "reminder_lead": "24 hours",
    "on_hold_expiry": "expire",
    "on_decline": "cancel",
    "max_queue_size": None,
    "max_active_per_requester": 5,
    "min_hold": "1 hour",
    "grace": "30 days",
    "breaker_threshold": 3,
    "breaker_timeout": "7 days",
    "membership": 0,
    "chronic": 0,
    "short_window": 0,
    "urgency": 0,
    "quiet_from": None,
    "quiet_until": None,
}

PRESETS: dict[str, dict[str, Any]] = {"clinic": CLINIC, "salon": SALON, "venue": VENUE}

#: By kind, what stays as the preset says. At a venue that is what shapes the cascade and its caps:
#: an owner who sets it could make offers come and go, and count who waits. And what is worked into
#: each entry: how long a change takes would tell how many there are.
FIXED: dict[str, frozenset[str]] = {
    "venue": frozenset(
        {
            "ordering",
            "hold_window",
            "min_hold",
            "reminder_lead",
            "on_hold_expiry",
            "on_decline",
            "max_offers_per_entry",
            "max_queue_size",
            "max_active_per_requester",
            "unique_per_service",
            "entry_ttl",
            "grace",
            "nudge_after",
            "nudge_grace",
            "breaker_threshold",
            "breaker_timeout",
            "wait_per_day",
            "membership",
            "chronic",
            "short_window",
            "urgency",
        }
    )
}

# `made` are the facilities just inserted. PostgreSQL reads the intervals, in its own words.
OPEN_QUEUES = """
INSERT INTO waitlist_queue (facility_id, tenant_id)
SELECT id, tenant_id FROM made;
INSERT INTO waitlist_waitlistpolicy
SELECT policy.*
FROM made
CROSS JOIN LATERAL jsonb_populate_record(
    NULL::waitlist_waitlistpolicy,
    '<presets>'::jsonb -> made.kind || jsonb_build_object(
        'id', uuidv7(), 'tenant_id', made.tenant_id, 'facility_id', made.id,
        'created_at', statement_timestamp(), 'updated_at', statement_timestamp(), 'version', 1
    )
) AS policy;
RETURN NULL;
""".replace("<presets>", json.dumps(PRESETS))
