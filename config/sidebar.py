"""The sidebar of the admin: what each person may see, in groups."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

#: Groups of pages: icon and model, whose name in the plural is the title.
GROUPS = (
    (
        "Scheduling",
        (
            ("event_available", "scheduling.slot"),
            ("event", "scheduling.appointment"),
            ("date_range", "scheduling.availabilityrule"),
            ("event_busy", "scheduling.availabilityexception"),
            ("block", "scheduling.timeblock"),
            ("location_on", "scheduling.facility"),
            ("medical_services", "scheduling.service"),
        ),
    ),
    (
        "Waitlist",
        (
            ("hourglass_top", "waitlist.waitlistentry"),
            ("front_hand", "waitlist.hold"),
            ("tune", "waitlist.waitlistpolicy"),
            ("format_list_numbered", "waitlist.queue"),
            ("sticky_note_2", "waitlist.entrynote"),
            ("person_off", "waitlist.fruitless"),
            ("water_loss", "waitlist.drypass"),
            ("monitoring", "waitlist.dailymetric"),
        ),
    ),
    (
        "Venues",
        (
            ("request_quote", "availability.rfp"),
            ("forward_to_inbox", "availability.rfpvenue"),
            ("mark_email_unread", "availability.receivedrfp"),
            ("event_note", "availability.venueavailability"),
            ("sensors", "availability.signal"),
            ("electric_bolt", "waitlist.circuitbreaker"),
        ),
    ),
    (
        "Messages",
        (
            ("outgoing_mail", "notifications.message"),
            ("edit_note", "notifications.template"),
            ("toggle_on", "notifications.channelswitch"),
            ("notifications", "notifications.preference"),
            ("calendar_month", "notifications.calendarfeed"),
        ),
    ),
    (
        "People",
        (
            ("person", "scheduling.patient"),
            ("badge", "scheduling.provider"),
            ("work", "scheduling.providerfacility"),
            ("group", "accounts.membership"),
            ("mail", "accounts.invitation"),
            ("manage_accounts", "accounts.user"),
            ("domain", "accounts.tenant"),
        ),
    ),
    (
        "Operations",
        (
            ("history", "audit.event"),
            ("webhook", "notifications.webhookendpoint"),
            ("outbox", "notifications.webhookdelivery"),
            ("stream", "notifications.streamcursor"),
            ("move_to_inbox", "notifications.inboundmessage"),
            ("work_history", "audit.jobrun"),
            ("schedule", "django_celery_beat.periodictask"),
            ("pending", "audit.unrelayed"),
            ("exposure_plus_1", "waitlist.uncounted"),
            ("done_all", "accounts.idempotencykey"),
            ("low_priority", "audit.eventseq"),
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
                "title": capfirst(pages[label].opts.verbose_name_plural),
                "icon": icon,
                "link": reverse(f"admin:{label.replace('.', '_')}_changelist"),
            }
            for icon, label in items
            if pages[label].has_view_permission(request)
        ]
        if links:
            groups.append({"title": title, "separator": True, "items": links})
    return groups
