"""What somebody was told in the app."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import RowsView, RowView
from audit import clock
from notifications import messages, scopes, templates
from notifications.kinds import CHOICES
from notifications.models import Message


class InboxAnswer(serializers.ModelSerializer[Message]):
    """A message, written when it is read, in the reader's language."""

    kind = serializers.ChoiceField(choices=CHOICES)
    subject = serializers.CharField(read_only=True)
    body = serializers.CharField(read_only=True)

    class Meta:
        model = Message
        fields = (
            "id", "kind", "facility", "entry", "hold", "appointment", "subject", "body",
            "delivered_at", "read_at",
        )  # fmt: skip


class InboxFilter(filters.FilterSet):  # type: ignore[misc]
    unread = filters.BooleanFilter(
        field_name="read_at", lookup_expr="isnull", label="Only what was not read, or was."
    )


class InboxView(RowsView):
    """The caller's messages."""

    serializer_class = InboxAnswer
    filterset_class = InboxFilter

    def rows(self) -> QuerySet[Message]:
        """Return them, the newest first, with what rendering reads."""
        return messages.to_render(found=scopes.inbox(caller=self.caller)).order_by("-id")

    def paginate_queryset(self, queryset: Any) -> list[Any]:
        """Return the messages of the page as they are read."""
        return written(found=super().paginate_queryset(queryset) or [])


class InboxReadView(RowView):
    """Reading one."""

    http_method_names: ClassVar[list[str]] = ["post"]  # type: ignore[misc]
    serializer_class = InboxAnswer
    noun: ClassVar[str] = "message"

    def rows(self) -> QuerySet[Message]:
        """Return the caller's messages."""
        return messages.to_render(found=scopes.inbox(caller=self.caller))

    @extend_schema(request=None, responses=InboxAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Note that a message was read; the first time counts."""
        self.find(id)
        messages.mark_read(message_id=id, now=clock.now())
        [message] = written(found=[self.find(id)])
        return self.show(row=message)


def written(*, found: Sequence[Message]) -> list[Message]:
    """Write what messages say into them, in their readers' languages, as of now."""
    for message, said in zip(
        found, templates.render_all(messages=found, now=clock.now()), strict=True
    ):
        vars(message).update(subject=said.subject, body=said.body)
    return [*found]
