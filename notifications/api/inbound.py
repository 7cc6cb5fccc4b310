"""What providers send us: answers by SMS and WhatsApp, and what became of messages.

Nobody is logged in here; a request counts by its signature alone, which is over the address that
`settings.SITE_URL` says. Whatever was understood of it is answered with 200, since all else would
be sent again.

What loads a provider's SDK is imported by name where it is called: it takes longer to load than
most commands take to run.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import structlog
from django.conf import settings
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated, ParseError, PermissionDenied, Throttled
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits
from accounts.parsers import JSONParser
from accounts.views import ApiView
from audit import clock
from notifications import inbound, phones, replies, reports, senders, signatures, updates, words
from notifications.channels import Failed
from notifications.models import Channel
from notifications.words import Meaning, Said

FORM = FormParser.media_type
XML = "text/xml"
TEXT = "text/plain"
MAX_ID = 200
MAX_CHALLENGE = 200

log = structlog.get_logger(__name__)


class BadSignature(PermissionDenied):
    """The request is not the provider's."""

    default_code = "bad_signature"
    default_detail = "The signature is not right."


class SmsBody(serializers.Serializer[Any]):
    """An SMS as Twilio hands it on, in part."""

    MessageSid = serializers.CharField(max_length=MAX_ID)
    From = serializers.CharField(help_text="E.164")
    Body = serializers.CharField(allow_blank=True)
    OptOutType = serializers.ChoiceField(
        choices=["STOP", "START", "HELP"], required=False,
        help_text="Where Twilio has answered such a word itself.",
    )  # fmt: skip


class SmsStatusBody(serializers.Serializer[Any]):
    """What became of an SMS, in part."""

    MessageSid = serializers.CharField(max_length=MAX_ID)
    MessageStatus = serializers.CharField()
    ErrorCode = serializers.CharField(required=False)


class InboundView(ApiView):
    """What the addresses of providers share: a request is taken if it is signed."""

    authentication_classes = ()
    idempotent = False  # by the provider's id of what it sends

    def check(self, *, request: Request, signed: bool) -> None:
        """Refuse what is not signed, counting it by its address.

        :raises BadSignature: if it is not.
        :raises Throttled: if there were too many such.
        """
        if not signed:
            limits.check(limit="unsigned", who=limits.address(request=request), tenant=None)
            raise BadSignature

    def take(self, *, channel: str, id: str, number: str, said: Said) -> str:
        """Take an answer and return what to say to it; nothing to who says too much.

        No answer is lost for that: who said it was told that it counts.
        """
        spellings = phones.spellings(number=number)
        taken = inbound.take(
            channel=channel,
            provider_message_id=id,
            phones=spellings,
            said=said,
            now=clock.now(),
        )
        try:
            limits.check(limit="inbound", who=min(spellings), tenant=None)
        except Throttled:
            return ""
        language = inbound.language(phones=spellings, said=said)
        return replies.compose(inbound=taken, language=language)


class TwilioView(InboundView):
    """What Twilio's two addresses share: a signed form."""

    parser_classes = (FormParser,)

    def read(self, *, request: Request) -> Any:
        """Return the form.

        :raises BadSignature, Throttled: as `check`.
        :raises ParseError: if it names no message.
        """
        form: Any = request.data
        url = f"{settings.SITE_URL}{request.get_full_path()}"
        signature = request.headers.get("X-Twilio-Signature", "")
        signed = signatures.is_twilios(url=url, form=form, signature=signature)
        self.check(request=request, signed=signed)
        if not 0 < len(form.get("MessageSid", "")) <= MAX_ID:
            raise ParseError("The form names no message.")
        return form


class SmsView(TwilioView):
    """Answers by SMS."""

    problems: ClassVar = {"POST": (BadSignature, Throttled)}

    @extend_schema(auth=[], request={FORM: SmsBody}, responses={(200, XML): str})
    def post(self, request: Request) -> HttpResponse:
        """Take an answer by SMS; the answer to it is TwiML. Sent again, it is answered again."""
        form = self.read(request=request)
        said = words.read(text=form.get("Body", ""))
        handled = form.get("OptOutType", "")
        if handled == "STOP" or (handled == "START" and said.meaning != Meaning.YES):
            said = Said(Meaning(handled.lower()), language=said.language)
        elif handled != "START":
            handled = ""
        text = self.take(
            channel=Channel.SMS, id=form["MessageSid"], number=form.get("From", ""), said=said
        )
        return HttpResponse(replies.to_twiml(text="" if handled else text), content_type=XML)


class SmsStatusView(TwilioView):
    """What became of SMS."""

    problems: ClassVar = {"POST": (BadSignature, Throttled)}

    @extend_schema(
        auth=[],
        parameters=[OpenApiParameter("message", str, description="Our id of the message.")],
        request={FORM: SmsStatusBody},
        responses={200: None},
    )
    def post(self, request: Request) -> Response:
        """Take Twilio's word on what became of an SMS. One that is not known changes nothing."""
        form = self.read(request=request)
        ours = request.query_params.get("message", "")
        report = updates.read_sms_report(form=form, message=ours)
        reports.note(channel=Channel.SMS, report=report, now=clock.now())
        return Response()


class WhatsAppView(InboundView):
    """Answers by WhatsApp, and what became of messages there."""

    parser_classes = (JSONParser,)
    problems: ClassVar = {
        "GET": (BadSignature, Throttled),
        "POST": (BadSignature, Throttled),
    }

    @extend_schema(
        auth=[],
        parameters=[
            OpenApiParameter("hub.mode", str),
            OpenApiParameter("hub.verify_token", str),
            OpenApiParameter("hub.challenge", str),
        ],
        responses={(200, TEXT): str},
    )
    def get(self, request: Request) -> HttpResponse:
        """Prove to Meta that this address is ours: give its challenge back."""
        asked, known = request.query_params, settings.WHATSAPP_VERIFY_TOKEN
        right = constant_time_compare(asked.get("hub.verify_token", ""), known)
        signed = bool(known) and right and asked.get("hub.mode") == "subscribe"
        self.check(request=request, signed=signed)
        return HttpResponse(asked.get("hub.challenge", "")[:MAX_CHALLENGE], content_type=TEXT)

    @extend_schema(auth=[], request={"application/json": dict}, responses={200: None})
    def post(self, request: Request) -> Response:
        """Take what Meta sends: answers, which are answered, and what became of messages."""
        signature = request.headers.get("X-Hub-Signature-256", "")
        signed = signatures.is_metas(body=request.body, signature=signature)
        self.check(request=request, signed=signed)
        for report in updates.read_reports(body=request.data):
            reports.note(channel=Channel.WHATSAPP, report=report, now=clock.now())
        for update in updates.read_messages(body=request.data):
            text = self.take(
                channel=Channel.WHATSAPP, id=update.id, number=update.number, said=update.said
            )
            if text and senders.is_on(channel=Channel.WHATSAPP):
                _reply(number=update.number, text=text)
        return Response()


class MailStatusView(InboundView):
    """What became of mails."""

    parser_classes = (JSONParser, FormParser)
    problems: ClassVar = {"POST": (BadSignature, NotAuthenticated, Throttled)}

    def get_authenticate_header(self, request: Request) -> str:
        """Ask for a user and password."""
        return 'Basic realm="mail status"'

    @extend_schema(auth=[], request={"application/json": dict}, responses={200: None})
    def post(self, request: Request) -> Response:
        """Take the mail provider's word on what became of mails, in its own format."""
        mail_reports = import_module("notifications.mail_reports")
        plain = request._request
        if mail_reports.wants_challenge(request=plain):
            raise NotAuthenticated("Give the user and password of the webhook.")
        self.check(request=request, signed=mail_reports.is_signed(request=plain))
        try:
            for report in mail_reports.read(request=plain):
                reports.note(channel=Channel.EMAIL, report=report, now=clock.now())
        except mail_reports.Unreadable as error:
            raise ParseError("This is not a report of the provider.") from error
        return Response()


def _reply(*, number: str, text: str) -> None:
    """Answer by WhatsApp. What was said is done; a lost reply changes nothing of that."""
    reply: Callable[..., None] = import_string("notifications.whatsapp.reply")
    try:
        reply(address=number, text=text)
    except Failed as failed:
        log.warning("no reply sent", channel="whatsapp", code=failed.code)
