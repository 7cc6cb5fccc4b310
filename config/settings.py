"""All settings, read from the environment. `.env.example` names and explains each variable.

BACKFILL_ENV says where this runs: `production` (the default: strict, nothing has a default that is
unsafe), `development` (set by manage.py) or `test` (set by the pytest plugin).
"""

import hashlib
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django_stubs_ext
import environ
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from config import logs

# Lets Django's generic classes be written with their parameter, as mypy wants: ModelAdmin[Slot].
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if os.environ.get("BACKFILL_ENV") != "test" and (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")  # the environment wins over the file

ENV = env.str("BACKFILL_ENV", default="production")
if ENV not in {"production", "development", "test"}:
    raise ImproperlyConfigured(f"BACKFILL_ENV is {ENV!r}: use production, development or test")
PRODUCTION = ENV == "production"


def required(name: str, *, otherwise: str | None = None) -> str:
    """Read a variable that must be set; `otherwise` stands in for it where that is safe.

    :raises ImproperlyConfigured: naming the variable.
    """
    value = env.str(name, default="") or otherwise
    if not value:
        raise ImproperlyConfigured(f"Set {name} in the environment; see .env.example")
    return value


# Web

DEBUG = env.bool("DEBUG", default=ENV == "development")
SECRET_KEY = required(
    "SECRET_KEY", otherwise=None if PRODUCTION or not DEBUG else "for-development-only"
)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
if not PRODUCTION:
    ALLOWED_HOSTS += [".localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "pgtrigger",
    "django_celery_beat",
    "django_structlog",
    "rest_framework",
    "django_filters",
    "drf_standardized_errors",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "audit",
    "accounts",
    "scheduling",
    "availability",
    "waitlist",
    "notifications",
    "bench",
    "config",
]
MIDDLEWARE = [
    "config.health.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.logs.RequestLogMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
UNFOLD = {
    "SITE_TITLE": "Backfill",
    "SITE_HEADER": "Backfill",
    "SITE_SYMBOL": "event_repeat",
    "SIDEBAR": {"navigation": "config.sidebar.navigation"},
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "scheduling.callers.TokenAuthentication",
        "scheduling.callers.PageAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.roles.ByRoute"],
    "DEFAULT_PARSER_CLASSES": ["accounts.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "accounts.pages.Pages",
    "DEFAULT_FILTER_BACKENDS": ["accounts.filters.KnownFilters"],
    "DURATION_FORMAT": "iso-8601",
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "accounts.schema.Schema",
    "EXCEPTION_HANDLER": "accounts.problems.handle",
}
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_FORMATTER_CLASS": "accounts.problems.Formatter",
    "ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True,
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "UPDATE_LAST_LOGIN": False,
    # A key of its own, so that what is signed elsewhere is never taken for a token.
    "SIGNING_KEY": hashlib.sha256(f"token:{SECRET_KEY}".encode()).hexdigest(),
    "CHECK_REVOKE_TOKEN": True,  # a changed password ends the tokens that came before
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Backfill",
    "DESCRIPTION": "Fills freed capacity from a waitlist.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["accounts.roles.ByRoute"],
    "SERVE_AUTHENTICATION": [],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "accounts.schema.finish",
    ],
    "CONTACT": {},
    "ENUM_NAME_OVERRIDES": {
        "SlotStatus": "scheduling.models.Slot.Status",
        "AppointmentStatus": "scheduling.models.Appointment.Status",
        "AppointmentSource": "scheduling.models.Appointment.Source",
        "EntryStatus": "waitlist.models.WaitlistEntry.Status",
        "RfpStatus": "availability.models.Rfp.Status",
        "RfpVenueStatus": "availability.models.RfpVenue.Status",
        "RfpResponse": "availability.models.RfpVenue.Response",
        "AvailabilityStatus": "availability.models.VenueAvailability.Status",
        "ManualAvailabilityStatus": "availability.statuses.BY_HAND",
        "BadgeColor": "availability.badges.COLORS",
        "HoldStatus": "waitlist.models.Hold.Status",
        "HoldSource": "waitlist.models.Hold.Source",
        "CallerRole": "scheduling.api.tokens.ROLES",
        "MemberRole": "accounts.models.Membership.Role",
        "InvitationRole": "accounts.models.Invitation.Role",
        "CancellationReason": "scheduling.appointments.REASONS",
        "LeavingReason": "waitlist.entries.REASONS",
        "VenueLeavingReason": "waitlist.entries.ORGANIZER_REASONS",
        "FacilityKind": "scheduling.models.Facility.Kind",
        "ExceptionKind": "scheduling.models.AvailabilityException.Kind",
        "Language": "accounts.models.Language",
        "MessageKind": "notifications.kinds.CHOICES",
        "MessageStatus": "notifications.models.Message.Status",
        "Channel": "notifications.models.Channel",
        "EventKind": "notifications.api.webhooks.KIND_CHOICES",
        "WebhookDeliveryStatus": "notifications.models.WebhookDelivery.Status",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
}
#: How often one may: a key `name:tenant id` beside a name gives a tenant a figure of its own, for
#: what is done there.
RATE_LIMITS: dict[str, str] = {
    "join": "10/minute",  # per patient
    "token": "5/minute",  # per address and account
    "refresh": "30/minute",  # per address
    "offer": "30/minute",  # per address
    "unsubscribe": "10/minute",  # per person; by links that are nobody's, per address
    "register": "5/minute",  # per address
    "invitation": "30/minute",  # per address
    "message": "20/hour",  # per recipient and channel; what is more is sent later
    "messages": "600/minute",  # per tenant and channel, likewise
    "mail": "3/hour",  # links that one asks for oneself, per mail address that is written to
    "invite": "3/hour",  # links that members send, per tenant and mail address
    "explain": "30/minute",  # per user
    "graphql": "600/minute",  # hundreds of what operations cost, per user, else per address
    "badge": "120/minute",  # of venues whose badge is not kept, per address
    "calendar": "10/minute",  # per calendar; of addresses at which none is, per caller's address
    "inbound": "20/minute",  # replies to what comes in, per phone; what comes in is always taken
    "unsigned": "30/minute",  # what comes in without a right signature, per address
    "webhook_test": "10/minute",  # per tenant
    **env.dict("RATE_LIMITS", default={}),
}

# Whether GraphQL tells its own schema, which is docs/schema.graphql, and suggests names.
GRAPHQL_INTROSPECTION = env.bool("GRAPHQL_INTROSPECTION", default=not PRODUCTION)

# So many proxies add the address they were called from; none is believed where there is none.
PROXIES = env.int("PROXIES", default=0)

# Mail

EMAIL_CONFIG = env.email_url(
    "EMAIL_URL", default="smtp://localhost:25" if PRODUCTION else "consolemail://"
)
# A provider's API in place of SMTP, by django-anymail, which reads what it needs as ANYMAIL_…; and
# the variable without which it sends nothing. Amazon's keys may come from the machine's role.
EMAIL_PROVIDERS = {
    "amazon_ses": "AWS_DEFAULT_REGION",
    "mailgun": "ANYMAIL_MAILGUN_API_KEY",
    "postmark": "ANYMAIL_POSTMARK_SERVER_TOKEN",
    "resend": "ANYMAIL_RESEND_API_KEY",
}
EMAIL_PROVIDER = env.str("EMAIL_PROVIDER", default="")
if EMAIL_PROVIDER:
    if EMAIL_PROVIDER not in EMAIL_PROVIDERS:
        raise ImproperlyConfigured(
            f"EMAIL_PROVIDER is {EMAIL_PROVIDER!r}: use one of {', '.join(EMAIL_PROVIDERS)}"
        )
    required(EMAIL_PROVIDERS[EMAIL_PROVIDER])
EMAIL_BACKEND = (
    f"anymail.backends.{EMAIL_PROVIDER}.EmailBackend"
    if EMAIL_PROVIDER
    else EMAIL_CONFIG["EMAIL_BACKEND"]
)
EMAIL_TIMEOUT = 10
ANYMAIL = {
    "REQUESTS_TIMEOUT": EMAIL_TIMEOUT,
    "AMAZON_SES_CLIENT_PARAMS": {
        "config": {
            "connect_timeout": EMAIL_TIMEOUT,
            "read_timeout": EMAIL_TIMEOUT,
            "retries": {"total_max_attempts": 1},  # what is not taken is tried again by us
        }
    },
    **{
        name.removeprefix("ANYMAIL_"): value
        for name, value in os.environ.items()
        if name.startswith("ANYMAIL_")
    },
}
# Whether people are told things by mail; where nobody says how, only invitations are mailed.
EMAIL_ON = not PRODUCTION or bool(EMAIL_PROVIDER) or "EMAIL_URL" in os.environ
EMAIL_HOST = EMAIL_CONFIG["EMAIL_HOST"]
EMAIL_PORT = EMAIL_CONFIG["EMAIL_PORT"]
EMAIL_HOST_USER = EMAIL_CONFIG["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = EMAIL_CONFIG["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = EMAIL_CONFIG.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = EMAIL_CONFIG.get("EMAIL_USE_SSL", False)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Backfill <backfill@localhost>")
# Where people reach this, for links in mails.
SITE_URL = env.str("SITE_URL", default="http://localhost:8000").rstrip("/")

# SMS, by Twilio: off without an account and a number, or messaging service, to send from

TWILIO_ACCOUNT_SID = env.str("TWILIO_ACCOUNT_SID", default="")
TWILIO_AUTH_TOKEN = env.str("TWILIO_AUTH_TOKEN", default="")
TWILIO_FROM = env.str("TWILIO_FROM", default="")
TWILIO_URL = env.str("TWILIO_URL", default="https://api.twilio.com").rstrip("/")

# WhatsApp, by Meta's Cloud API: off without a number to send from and a token

WHATSAPP_PHONE_ID = env.str("WHATSAPP_PHONE_ID", default="")
WHATSAPP_TOKEN = env.str("WHATSAPP_TOKEN", default="")
WHATSAPP_APP_SECRET = env.str("WHATSAPP_APP_SECRET", default="")  # signs what comes in
WHATSAPP_VERIFY_TOKEN = env.str("WHATSAPP_VERIFY_TOKEN", default="")
WHATSAPP_URL = env.str("WHATSAPP_URL", default="https://graph.facebook.com/v24.0").rstrip("/")

# Safe transport: on in production, and each can be set for a proxy that does it already

SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=PRODUCTION)
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000 if PRODUCTION else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=PRODUCTION)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=PRODUCTION)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=PRODUCTION)
if env.bool("BEHIND_TLS_PROXY", default=False):
    # Only behind a proxy that sets or strips this header itself: else a client could forge it.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"

# People

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
if ENV == "test":  # hashing a password well takes longer than most tests
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Language and time: rows hold UTC; a facility's own zone is applied where its times are read

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español"), ("fr", "Français"), ("pt", "Português")]
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

# PostgreSQL. A stand-in address lets mypy and makemigrations load the models without a server; it
# leads nowhere and says why, and production has none.

DATABASE_URL = required(
    "DATABASE_URL",
    otherwise=None if PRODUCTION else "postgresql:///backfill?host=/DATABASE_URL-is-not-set",
)
DATABASES: dict[str, dict[str, Any]] = {"default": env.db_url_config(DATABASE_URL)}
DATABASES["default"]["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=0)
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
# A socket comes as `?host=`, which only Django's driver would read: `dbshell` reads HOST.
DATABASES["default"]["HOST"] = DATABASES["default"]["OPTIONS"].pop(
    "host", DATABASES["default"]["HOST"]
)
if env.bool("DATABASE_POOL", default=False):
    # For the web process. Not for workers, which fork: a pool's threads stay behind in the parent.
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 2, "max_size": 10, "timeout": 5}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Valkey


def broker_url(*, redis_url: str) -> str:
    """Write a client's address the way Celery wants it: a Unix socket has its own scheme there."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"


REDIS_URL = required(
    "REDIS_URL", otherwise=None if PRODUCTION else "unix:///REDIS_URL-is-not-set?db=0"
)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": [REDIS_URL],
        "KEY_PREFIX": "backfill",
    },
}

# Jobs

#: Event kind → name of the task that acts on it at once: `audit.record` sends it on commit, with
#: the facility's id; the one for any kind once in a transaction.
EVENT_TASKS: dict[str, str] = {
    "*": "notifications.tasks.relay_events",
    "slot.opened": "waitlist.tasks.fill_facility",
    "waitlist.joined": "waitlist.tasks.fill_facility",
    "waitlist.requeued": "waitlist.tasks.fill_facility",
    "waitlist.converted": "waitlist.tasks.tell_positions",
    "waitlist.cancelled": "waitlist.tasks.tell_positions",
    "waitlist.auto_expired": "waitlist.tasks.tell_positions",
    "venue.availability_improved": "waitlist.tasks.offer_vacancy",
    # Of offers without a slot only.
    "waitlist.hold_expired": "waitlist.tasks.offer_vacancy",
    "waitlist.hold_declined": "waitlist.tasks.offer_vacancy",
    "waitlist.hold_withdrawn": "waitlist.tasks.offer_vacancy",
    "block.created": "waitlist.tasks.withdraw_blocked_holds",
    "patient.updated": "waitlist.tasks.rerank_patient",
    "access.invited": "accounts.tasks.mail_invitations",
}

#: Kinds whose task is told the subjects as well: after the facility's id, theirs.
EVENT_SUBJECTS = {"slot.opened", "waitlist.joined", "waitlist.requeued"}

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="") or broker_url(redis_url=REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # A message not acknowledged for so long is given out again, whatever acks_late says: tasks are
    # safe to run twice, and no task waits for a deadline in the broker.
    "visibility_timeout": 3600,
    # What a killed worker held is looked for every 5 s (interval × throttle).
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # Who sends a task on commit does not wait for a broker that is away: a sweep does the work.
    "max_retries": 1,
    "interval_start": 0,
    "socket_connect_timeout": 2,
    # A queue's keys are then `q`, `q:3`, `q:6` and `q:9`, priority 0 being the highest.
    "sep": ":",
}
CELERY_TIMEZONE = "UTC"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 240  # seconds; a task that needs more says so itself
CELERY_TASK_TIME_LIMIT = 300
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = CELERY_TASK_DEFAULT_ROUTING_KEY = "default"
CELERY_TASK_DEFAULT_EXCHANGE = "backfill"
# Each with a routing key of its own: with the same one, every queue would get every message.
CELERY_TASK_QUEUES = [
    Queue(name, Exchange("backfill"), routing_key=name)
    for name in ("waitlist", "notifications", "default")
]
CELERY_TASK_ROUTES = {
    "waitlist.*": {"queue": "waitlist"},
    "notifications.*": {"queue": "notifications"},
}
CELERY_BEAT_SCHEDULER = "config.schedule:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5  # seconds until beat sees what staff changed in the admin
CELERY_BEAT_SCHEDULE = {
    task: {"task": f"{app}.tasks.{task}", "schedule": schedule, "options": options}
    for app, task, schedule, options in (
        # What runs often is worth nothing late: it expires before the next is due.
        ("waitlist", "expire_holds", timedelta(seconds=10), {"expire_seconds": 10}),
        ("waitlist", "fill_open_slots", timedelta(minutes=5), {"expire_seconds": 300}),
        ("waitlist", "offer_vacancies", timedelta(minutes=5), {"expire_seconds": 300}),
        ("waitlist", "withdraw_blocked_holds", timedelta(minutes=5), {"expire_seconds": 300}),
        ("waitlist", "send_hold_reminders", timedelta(minutes=5), {"expire_seconds": 300}),
        ("waitlist", "tell_positions", timedelta(minutes=5), {"expire_seconds": 300}),
        ("waitlist", "expire_entries", timedelta(hours=1), {}),
        ("waitlist", "send_nudges", crontab(hour="10", minute="0"), {}),
        ("waitlist", "expire_nudges", crontab(hour="10", minute="0"), {}),
        ("waitlist", "deactivate_breakers", crontab(hour="0", minute="0"), {}),
        ("waitlist", "rerank_queues", crontab(hour="3", minute="0"), {}),
        ("waitlist", "roll_up_metrics", crontab(minute="5"), {}),
        ("scheduling", "generate_slots", crontab(hour="1", minute="0"), {}),
        (
            "scheduling",
            "release_expired_reservations",
            timedelta(minutes=1),
            {"expire_seconds": 60},
        ),
        ("availability", "close_overdue_rfps", timedelta(hours=1), {}),
        ("availability", "infer", timedelta(hours=6), {}),
        ("notifications", "relay_events", timedelta(seconds=5), {"expire_seconds": 5}),
        ("notifications", "retry_deliveries", timedelta(minutes=1), {"expire_seconds": 60}),
        ("notifications", "stream_events", timedelta(minutes=1), {"expire_seconds": 60}),
        ("notifications", "prune", crontab(hour="4", minute="20"), {}),
        ("accounts", "mail_invitations", timedelta(minutes=1), {"expire_seconds": 60}),
        ("accounts", "prune_idempotency_keys", crontab(hour="4", minute="10"), {}),
        ("audit", "prune_job_runs", crontab(hour="4", minute="0"), {}),
        ("audit", "fail_lost_runs", timedelta(minutes=10), {"expire_seconds": 600}),
    )
}

# What systems are told: webhooks, and a stream

# Whether webhooks may go to private networks and to any port, or without TLS. Not where others
# choose the addresses.
WEBHOOKS_ALLOW_PRIVATE = env.bool("WEBHOOKS_ALLOW_PRIVATE", default=False)
WEBHOOKS_ALLOW_HTTP = env.bool("WEBHOOKS_ALLOW_HTTP", default=False)
# kafka://host:port,host:port?option=value or redis://host:port/0; none without it.
STREAM_URL = env.str("STREAM_URL", default="")
STREAM_TOPIC = env.str("STREAM_TOPIC", default="waitlist-events")
# Names, addresses and phone numbers, too: only for a topic that nobody else reads.
STREAM_INCLUDE_CONTACT = env.bool("STREAM_INCLUDE_CONTACT", default=False)

# Static files: collected and hashed in the image, read from the apps elsewhere

STATIC_URL = "static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=f"{BASE_DIR}/staticfiles") if PRODUCTION else None
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage",
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION

# Logs

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = logs.settings(level=LOG_LEVEL, readable=DEBUG)
DJANGO_STRUCTLOG_CELERY_ENABLED = True
# One line for each request and each task, at its end.
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_CELERY_TASK_START_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
