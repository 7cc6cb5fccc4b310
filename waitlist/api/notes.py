"""Notes of staff on an entry, what happened to it, and the answer to a nudge."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.models import User
from accounts.roles import Role
from accounts.views import ApiView, RowsView, wanted_version
from audit import clock
from audit.models import Event
from waitlist import entries, history, nudges, scopes
from waitlist.api.answers import EntryAnswer
from waitlist.api.entries import show
from waitlist.models import EntryNote


class NoteAnswer(serializers.ModelSerializer[EntryNote]):
    """A note; the author is a user."""

    class Meta:
        model = EntryNote
        fields = ("id", "author", "text", "at")


class Note(Body):
    """What is to be noted."""

    text = serializers.CharField(max_length=5000, trim_whitespace=False)


class FactAnswer(serializers.Serializer[Any]):
    """One line of a history: an event of the log, or a note."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    kind = serializers.CharField()
    actor_type = serializers.CharField()
    actor = serializers.UUIDField(source="actor_id", allow_null=True)
    previous_status = serializers.CharField(allow_null=True)
    new_status = serializers.CharField(allow_null=True)
    hold = serializers.UUIDField(source="hold_id", allow_null=True)
    slot = serializers.UUIDField(source="slot_id", allow_null=True)
    text = serializers.CharField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; `data` is a word of the framework's."""
        return {**super().get_fields(), "data": serializers.DictField()}


class Interest(Body):
    """The answer to the question whether they still wait."""

    interested = serializers.BooleanField()


class NotesView(RowsView):
    """The notes on an entry."""

    serializer_class = NoteAnswer

    def rows(self) -> QuerySet[EntryNote]:
        """Return the notes, oldest first."""
        found = scopes.entries(caller=self.caller)
        entry = rows.find(rows=found, id=self.kwargs["id"], field="entry")
        return EntryNote.objects.filter(entry=entry).order_by("at", "id")

    def keep(self, *, body: Any) -> Any:
        """Return the id alone: what staff write about a person is stored once."""
        return {"id": body["id"]}

    def recall(self, *, kept: Any) -> Any:
        """Read the note again.

        :raises NotFound: if it is gone, as when its patient was erased.
        """
        return NoteAnswer(rows.find(rows=self.rows(), id=kept["id"], field="note")).data

    def get(self, request: Request, id: UUID) -> Response:  # type: ignore[override]
        """List the notes on an entry, oldest first."""
        return self.list(request)

    @extend_schema(request=Note, responses={201: NoteAnswer})
    def post(self, request: Request, id: UUID) -> Response:
        """Note something on an entry."""
        body = Note(data=request.data)
        body.is_valid(raise_exception=True)
        rows.find(rows=scopes.entries(caller=self.caller), id=id, field="entry")
        note = entries.add_note(
            entry_id=id,
            author=User.objects.get(pk=self.caller.user_id),
            text=body.validated_data["text"],
            now=clock.now(),
        )
        return Response(NoteAnswer(note).data, status=201)


class HistoryView(ApiView, GenericAPIView[Any]):
    """What happened to an entry."""

    serializer_class = FactAnswer
    queryset = Event.objects.none()  # for the schema; the facts are read for each request

    @extend_schema(responses=FactAnswer(many=True))
    def get(self, request: Request, id: UUID) -> Response:
        """Tell what happened to an entry, oldest first; to staff with the notes on it."""
        entry = rows.find(rows=scopes.entries(caller=self.caller), id=id, field="entry")
        facts = history.read(entry=entry, inside=self.caller.role != Role.PATIENT)
        page = self.paginate_queryset(self.filter_queryset(facts))  # type: ignore[arg-type]
        return self.get_paginated_response(FactAnswer(page, many=True).data)


class StillInterestedView(ApiView, GenericAPIView[Any]):
    """The answer to a nudge."""

    serializer_class = EntryAnswer
    updates: ClassVar[bool] = True
    problems: ClassVar = {"POST": (entries.EntryClosed,)}

    @extend_schema(request=Interest, responses=EntryAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Say whether one still waits; who does not any longer leaves the queue."""
        body = Interest(data=request.data)
        body.is_valid(raise_exception=True)
        rows.find(rows=scopes.entries(caller=self.caller), id=id, field="entry")
        nudges.answer(
            entry_id=id,
            interested=body.validated_data["interested"],
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return show(view=self, entry_id=id)
