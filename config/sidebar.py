"""The sidebar of the admin: what each person may see, in groups."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

#: Groups of pages: title, icon, model.
GROUPS = (
    (
        "Scheduling",
        (
            ("Slots", "event_available", "scheduling.slot"),
            ("Appointments", "event", "scheduling.appointment"),
            ("Rules", "date_range", "scheduling.availabilityrule"),
            ("Exceptions", "event_busy", "scheduling.availabilityexception"),
            ("Time blocks", "block", "scheduling.timeblock"),
            ("Facilities", "location_on", "scheduling.facility"),
            ("Services", "medical_services", "scheduling.service"),
        ),
    ),
    (
        "Waitlist",
        (
            ("Entries", "hourglass_top", "waitlist.waitlistentry"),
            ("Holds", "front_hand", "waitlist.hold"),
            ("Policies", "tune", "waitlist.waitlistpolicy"),
            ("Queues", "format_list_numbered", "waitlist.queue"),
            ("Notes", "sticky_note_2", "waitlist.entrynote"),
            ("Slots nobody fits", "person_off", "waitlist.fruitless"),
            ("Dry facilities", "water_loss", "waitlist.drypass"),
            ("Breakers", "power_off", "waitlist.circuitbreaker"),
            ("Daily metrics", "monitoring", "waitlist.dailymetric"),
        ),
    ),
    (
        "People",
        (
            ("Patients", "person", "scheduling.patient"),
            ("Providers", "badge", "scheduling.provider"),
            ("Postings", "work", "scheduling.providerfacility"),
            ("Members", "group", "accounts.membership"),
            ("Invitations", "mail", "accounts.invitation"),
            ("Users", "manage_accounts", "accounts.user"),
            ("Tenants", "domain", "accounts.tenant"),
        ),
    ),
    (
        "Operations",
        (
            ("Events", "history", "audit.event"),
            ("Job runs", "work_history", "audit.jobrun"),
            ("Job schedule", "schedule", "django_celery_beat.periodictask"),
            ("Unrelayed events", "pending", "audit.unrelayed"),
            ("Answered writes", "done_all", "accounts.idempotencykey"),
            ("Order of events", "low_priority", "audit.eventseq"),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups and pages that the user may see, as Unfold takes them."""
    pages = {model._meta.label_lower: page for model, page in admin.site._registry.items()}
    groups: list[dict[str, Any]] = []
    for title, items in GROUPS:
        links = [
            {
                "title": name,
                "icon": icon,
                "link": reverse(f"admin:{label.replace('.', '_')}_changelist"),
            }
            for name, icon, label in items
            if pages[label].has_view_permission(request)
        ]
        if links:
            groups.append({"title": title, "separator": True, "items": links})
    return groups
