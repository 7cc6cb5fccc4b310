"""Pages of what people are told, and of what they answer."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.access import Right
from accounts.admin import TenantAdmin
from accounts.rows import remove
from audit.columns import EMPTY, label, link
from audit.filters import DayFilter
from audit.pages import Admin, Answer, FunctionForm, RowForm, Rows, action, arguments
from notifications import lengths, messages, templates
from notifications.facts import VALUES
from notifications.kinds import CHOICES
from notifications.models import (
    CalendarFeed,
    Channel,
    ChannelSwitch,
    InboundMessage,
    Message,
    Preference,
    Template,
)
from scheduling.admin import FACILITY

MESSAGE_STATUS = label(
    colours={
        "queued": "info", "sent": "success", "delivered": "success", "failed": "danger",
        "suppressed": "warning",
    }
)  # fmt: skip

OUTCOMES = {"accepted": "success", "declined": "info", "unclear": "warning", "which": "warning"}


@admin.register(Message)
class MessageAdmin(TenantAdmin):
    """What people are told, and what became of it. Neither text nor address is kept."""

    list_display = (
        "created_at", "kind", "channel", MESSAGE_STATUS, "reason", link(field="patient"),
        link(field="facility"), "attempts",
    )  # fmt: skip
    list_filter = ("status", "channel", "kind", FACILITY, ("created_at", DayFilter))
    list_select_related = ("patient", "facility", "user")
    search_fields = ("kind", "reason")
    ids = ("pk", "event_id", "entry", "hold", "appointment", "patient")
    fields = (
        "kind", "channel", MESSAGE_STATUS, "reason", link(field="patient"), "user",
        link(field="facility"), link(field="entry"), link(field="appointment"), "attempts",
        "next_attempt_at", "deadline", "provider_message_id", "created_at", "sent_at",
        "delivered_at", "read_at", "closed_at",
    )  # fmt: skip
    actions = ("retry", "dismiss")

    @action(description="Send again", status=["failed"])
    def retry(self, request: HttpRequest, rows: Rows) -> Answer:
        """Queue messages that failed."""

        def call(*, actor: Any, **given: Any) -> None:
            messages.retry(**given)

        return self.run(request, rows, call, id="message_id", done="Queued")

    @action(description="Dismiss", status=["failed"])
    def dismiss(self, request: HttpRequest, rows: Rows) -> Answer:
        """Put messages that failed aside."""

        def call(*, actor: Any, **given: Any) -> None:
            messages.dismiss(**given)

        return self.run(request, rows, call, id="message_id", done="Dismissed")


class TemplateForm(FunctionForm):
    """A text; its kind is chosen from those that are told."""

    class Meta:
        model = Template
        exclude = ()  # the page says which
        widgets: ClassVar = {
            "kind": UnfoldAdminSelectWidget(choices=CHOICES),
            "body": UnfoldAdminTextareaWidget(attrs={"rows": 12}),
        }
        help_texts: ClassVar = {
            "facility": "all facilities, if none is chosen",
            "subject": "of mails and in the app",
            "body": "Placeholders: " + " ".join(f"{{{name}}}" for name in VALUES),
        }


@admin.register(Template)
class TemplateAdmin(TenantAdmin):
    """A tenant's own texts, in place of those that are shipped."""

    adds = edits = True
    right = edit_right = Right.MANAGE
    form = TemplateForm
    list_display = ("kind", "channel", "language", link(field="facility"), "updated_at")
    list_filter = ("kind", "channel", "language", FACILITY)
    list_select_related = ("facility",)
    search_fields = ("kind", "subject", "body")
    ordering = ("kind", "channel", "language", "pk")
    autocomplete_fields = ("facility",)
    fields = ("tenant", "facility", "kind", "channel", "language", "subject", "body")
    actions = ("remove",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what a text says once there is one."""
        return (*self.fields, "preview", "shipped") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep what a text is for: for something else it is another text."""
        fixed = super().get_readonly_fields(request, obj)
        kept = ("facility", "kind", "channel", "language", "preview", "shipped")
        return (*fixed, *kept) if obj else fixed

    @admin.display(description="what it says")
    def preview(self, template: Template) -> str:
        """Write the text with values of nobody, and how long it is by SMS."""
        return self._show(templates.Text(template.subject, template.body), template)

    @admin.display(description="what it is in place of")
    def shipped(self, template: Template) -> str:
        """Write the text that is shipped."""
        kept = {name: getattr(template, name) for name in ("kind", "channel", "language")}
        return self._show(templates.shipped(**kept), template)

    def _show(self, text: templates.Text, template: Template) -> str:
        said = templates.preview(text=text, channel=template.channel, language=template.language)
        size = ""
        if template.channel == Channel.SMS:
            length = lengths.measure(text=said.body)
            size = f"{length.encoding}, {length.units} long, {length.segments} segments"
            size += f", because of {length.others}" if length.others else ""
        return format_html(
            '<strong>{}</strong><div style="white-space: pre-line">{}</div><small>{}</small>',
            said.subject,
            said.body or EMPTY,
            size,
        )

    def save_model(self, request: HttpRequest, obj: Template, form: Any, change: bool) -> None:
        """Write or change the text."""
        given = arguments(form=form, changed=change)
        if not change:
            obj.pk = templates.add(**given).pk
        elif given:
            templates.change(template_id=obj.pk, changes=given)

    @action(description="Remove")
    def remove(self, request: HttpRequest, rows: Rows) -> Answer:
        """Let the texts that are shipped count again."""

        def call(*, template_id: Any, **given: Any) -> None:
            templates.remove(template_id=template_id)

        return self.run(request, rows, call, id="template_id", done="Removed")


class SwitchForm(RowForm):
    """A switch; its kind is chosen from those that are told."""

    class Meta:
        model = ChannelSwitch
        exclude = ()  # the page says which
        widgets: ClassVar = {"kind": UnfoldAdminSelectWidget(choices=CHOICES)}


@admin.register(ChannelSwitch)
class ChannelSwitchAdmin(TenantAdmin):
    """On which channels a tenant tells a kind, or does not, whatever is usual."""

    adds = edits = True
    right = edit_right = Right.MANAGE
    form = SwitchForm
    list_display = ("kind", "channel", "is_on")
    list_filter = ("channel", "is_on")
    search_fields = ("kind",)
    ordering = ("kind", "channel", "pk")
    fields = ("tenant", "kind", "channel", "is_on")


@admin.register(Preference)
class PreferenceAdmin(TenantAdmin):
    """What people said they want to be told; they change it themselves."""

    list_display = (link(field="patient"), "user", "waitlist_reminders", "email", "sms", "whatsapp")
    list_filter = ("waitlist_reminders", "email", "sms", "whatsapp")
    list_select_related = ("patient", "user")
    fields = (link(field="patient"), "user", "waitlist_reminders", "email", "sms", "whatsapp")


@admin.register(InboundMessage)
class InboundMessageAdmin(Admin):
    """What came of answers by SMS and WhatsApp. They are no tenant's, so nobody in one sees them.

    What an answer did is in the history of its entry, which staff see.
    """

    list_display = ("at", "channel", label(field="outcome", colours=OUTCOMES), "patient")
    list_filter = ("channel", "outcome", ("at", DayFilter))
    list_select_related = ("patient",)
    search_fields = ("digest",)
    ids = ("pk", "patient", "hold")
    fields = ("at", "channel", "digest", "outcome", "patient", "hold", "asked")


@admin.register(CalendarFeed)
class CalendarFeedAdmin(TenantAdmin):
    """Who has an address for their calendar. Only its user is given a new one, since it is secret;
    staff take away one that got into the wrong hands.
    """

    list_display = ("user", link(field="patient"), "rotated_at")
    list_select_related = ("user", "patient")
    search_fields = ("user__email", "user__name")
    ids = ("pk", "user", "patient")
    fields = ("user", link(field="patient"), "rotated_at", "created_at")
    actions = ("revoke",)

    @action(description="Take the address away")
    def revoke(self, request: HttpRequest, rows: Rows) -> Answer:
        """Delete addresses: what asks at them finds no calendar any longer."""

        def call(*, feed_id: UUID, **_: Any) -> None:
            remove(rows=CalendarFeed.objects.all(), id=feed_id)

        return self.run(request, rows, call, id="feed_id", done="Taken away")
