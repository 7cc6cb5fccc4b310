"""Routes of the supply and of those who log in. Who may call them is in `accounts.roles.ROUTES`.

The list of slots is in `waitlist.urls`: a patient who finds none is told of the waitlist.
"""

from django.urls import path

from scheduling.api import (
    appointments,
    blocks,
    exceptions,
    facilities,
    patients,
    providers,
    registration,
    rules,
    services,
    slots,
    tokens,
)

urlpatterns = [
    path("auth/token", tokens.TokenView.as_view(), name="token"),
    path("auth/token/refresh", tokens.RefreshView.as_view(), name="token-refresh"),
    path("auth/me", tokens.MeView.as_view(), name="me"),
    path("auth/register", registration.RegisterView.as_view(), name="register"),
    path("auth/register/confirm", registration.ConfirmView.as_view(), name="register-confirm"),
    path(
        "auth/invitations/<str:token>", registration.AcceptView.as_view(), name="invitation-accept"
    ),
    path("facilities/", facilities.FacilitiesView.as_view(), name="facility-list"),
    path("facilities/<uuid:id>", facilities.FacilityView.as_view(), name="facility-detail"),
    path("providers/", providers.ProvidersView.as_view(), name="provider-list"),
    path("providers/<uuid:id>", providers.ProviderView.as_view(), name="provider-detail"),
    path("services/", services.ServicesView.as_view(), name="service-list"),
    path("services/<uuid:id>", services.ServiceView.as_view(), name="service-detail"),
    path("patients/", patients.PatientsView.as_view(), name="patient-list"),
    path("patients/<uuid:id>", patients.PatientView.as_view(), name="patient-detail"),
    path(
        "patients/<uuid:id>/invite",
        registration.PatientInviteView.as_view(),
        name="patient-invite",
    ),
    path("availability-rules/", rules.RulesView.as_view(), name="availability-rule-list"),
    path("availability-rules/<uuid:id>", rules.RuleView.as_view(), name="availability-rule-detail"),
    path(
        "availability-exceptions/",
        exceptions.ExceptionsView.as_view(),
        name="availability-exception-list",
    ),
    path(
        "availability-exceptions/<uuid:id>",
        exceptions.ExceptionView.as_view(),
        name="availability-exception-detail",
    ),
    path("time-blocks/", blocks.BlocksView.as_view(), name="time-block-list"),
    path("time-blocks/<uuid:id>", blocks.BlockView.as_view(), name="time-block-detail"),
    path("slots/<uuid:id>", slots.SlotView.as_view(), name="slot-detail"),
    path("slots/<uuid:id>/reserve", slots.ReserveView.as_view(), name="slot-reserve"),
    path("slots/<uuid:id>/release", slots.ReleaseView.as_view(), name="slot-release"),
    path("appointments/", appointments.AppointmentsView.as_view(), name="appointment-list"),
    path(
        "appointments/<uuid:id>", appointments.AppointmentView.as_view(), name="appointment-detail"
    ),
    path(
        "appointments/<uuid:id>/cancel",
        appointments.CancelView.as_view(),
        name="appointment-cancel",
    ),
    path(
        "appointments/<uuid:id>/reschedule",
        appointments.RescheduleView.as_view(),
        name="appointment-reschedule",
    ),
    path(
        "appointments/<uuid:id>/complete",
        appointments.CompleteView.as_view(),
        name="appointment-complete",
    ),
    path(
        "appointments/<uuid:id>/no-show",
        appointments.NoShowView.as_view(),
        name="appointment-no-show",
    ),
]
