"""A tenant's own texts."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.models import Language
from accounts.views import RowsView, RowView, read, wanted_version
from notifications import lengths, scopes, templates
from notifications.kinds import CHOICES
from notifications.models import Channel, Template
from scheduling import scopes as scheduling


class LengthAnswer(serializers.Serializer[lengths.Length]):
    """How long a text is by SMS; `others` are the letters that make it UCS-2."""

    encoding = serializers.ChoiceField(choices=["GSM-7", "UCS-2"])
    units = serializers.IntegerField()
    segments = serializers.IntegerField()
    others = serializers.CharField()


class PreviewAnswer(serializers.Serializer[Any]):
    """What a text says, with values of nobody."""

    subject = serializers.CharField()
    body = serializers.CharField()
    sms_length = LengthAnswer()


class TemplateBody(Body, serializers.ModelSerializer[Template]):
    """A text of a kind on a channel, for one facility or for all; placeholders are in braces."""

    kind = serializers.ChoiceField(choices=CHOICES)
    facility = serializers.UUIDField(
        source="facility_id", required=False, allow_null=True, help_text="all, if none is given"
    )
    subject = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="of mails and in the app"
    )
    body = serializers.CharField(
        max_length=10_000, trim_whitespace=False, help_text="such as: Hello {patient_name}"
    )
    preview = serializers.SerializerMethodField()

    class Meta:
        model = Template
        fields = (
            "id", "facility", "kind", "channel", "language", "subject", "body", "preview",
            "version", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "preview", "version", "created_at", "updated_at")

    @extend_schema_field(PreviewAnswer)
    def get_preview(self, template: Template) -> dict[str, Any]:
        """Write the text with values of nobody."""
        said = templates.preview(
            text=templates.Text(template.subject, template.body),
            channel=template.channel,
            language=template.language,
        )
        length = lengths.measure(text=said.body)
        return dict(
            PreviewAnswer({"subject": said.subject, "body": said.body, "sms_length": length}).data
        )


class TemplateFilter(filters.FilterSet):  # type: ignore[misc]
    kind = filters.ChoiceFilter(choices=CHOICES)
    channel = filters.ChoiceFilter(choices=Channel.choices)
    language = filters.ChoiceFilter(choices=Language.choices)
    facility = filters.UUIDFilter(field_name="facility_id")
    sort = SortFilter(fields=("created_at",))


class TemplatesView(RowsView):
    serializer_class = TemplateBody
    filterset_class = TemplateFilter

    def rows(self) -> QuerySet[Template]:
        return scopes.templates(caller=self.caller).order_by("kind", "channel", "language", "id")

    def post(self, request: Request) -> Response:
        """Write an own text in place of the one that is shipped."""
        values = read(view=self)
        if values.get("facility_id"):
            seen = scheduling.facilities(caller=self.caller)
            rows.find(rows=seen, id=values["facility_id"], field="facility")
        return self.made(row=templates.add(tenant_id=self.caller.tenant_id, **values))


class TemplateView(RowView):
    serializer_class = TemplateBody
    noun: ClassVar[str] = "template"

    def rows(self) -> QuerySet[Template]:
        return scopes.templates(caller=self.caller)

    def get(self, request: Request, id: UUID) -> Response:
        """Read a text."""
        return self.show(row=self.find(id))

    def patch(self, request: Request, id: UUID) -> Response:
        """Change what a text says; another kind, channel or language is another text."""
        self.find(id)
        version = wanted_version(request=request)
        changes = self.read(partial=True)
        return self.show(row=templates.change(template_id=id, changes=changes, version=version))

    def delete(self, request: Request, id: UUID) -> Response:
        """Delete a text: the one that is shipped counts again."""
        self.find(id)
        templates.remove(template_id=id, version=wanted_version(request=request))
        return Response(status=204)
