"""Pages of facilities, providers, services and patients."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelect2Widget

from accounts.admin import TenantAdmin, TenantFilter, TenantInline
from audit import clock
from audit.columns import Column, label, link, rows
from audit.filters import LevelFilter
from audit.pages import Rows, actor, arguments
from scheduling import facilities, patients, providers, zones
from scheduling.models import (
    Facility,
    Patient,
    Provider,
    ProviderFacility,
    Service,
)

FACILITY = ("facility", TenantFilter)
PROVIDER = ("provider", TenantFilter)
SERVICE = ("service", TenantFilter)


@admin.register(Facility)
class FacilityAdmin(TenantAdmin):
    """Places. The queue and the policy of a new one are made with it."""

    adds = edits = True
    subject = "facility"
    list_display = (
        "name", label(field="kind", colours=dict.fromkeys(Facility.Kind.values, "info")), "city",
        "timezone", "is_active",
    )  # fmt: skip
    list_filter = ("kind", "is_active")
    search_fields = ("name", "slug", "city")
    ordering = ("name", "pk")
    prepopulated_fields: ClassVar[dict[str, Sequence[str]]] = {"slug": ("name",)}
    fields = ("tenant", "name", "slug", "kind", "timezone", "city", "country", "is_active")
    links: tuple[Column, ...] = (
        rows(title="Rules", of="scheduling_availabilityrule", by="facility__id__exact"),
        rows(title="Slots", of="scheduling_slot", by="facility__id__exact"),
        rows(title="Appointments", of="scheduling_appointment", by="facility__id__exact"),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the kind and the zone: the policy and the slots were made by them."""
        fixed = super().get_readonly_fields(request, obj)
        return (*fixed, "kind", "timezone") if obj else fixed

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else self.prepopulated_fields

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "timezone":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        names = [(zone, zone) for zone in sorted(zones.known())]
        return forms.ChoiceField(
            choices=[("", "Select value"), *names], widget=UnfoldAdminSelect2Widget
        )

    def save_model(self, request: HttpRequest, obj: Facility, form: Any, change: bool) -> None:
        """Add or change the facility; coming slots of one that closes retire."""
        given, who = arguments(form=form, changed=change), actor(request=request)
        if not change:
            obj.pk = facilities.add(tenant_id=given.pop("tenant_id"), values=given).pk
        elif given:
            facilities.change(facility_id=obj.pk, changes=given, actor=who, now=clock.now())


class PostingInline(TenantInline):
    """Where a provider works."""

    model = ProviderFacility
    adds = True
    autocomplete_fields = ("facility",)
    fields = ("facility",)


@admin.register(Provider)
class ProviderAdmin(TenantAdmin):
    """Who or what is booked."""

    adds = edits = True
    subject = "provider"
    list_display = ("name", "places", "is_active")
    list_filter = ("is_active", ("facilities", TenantFilter))
    search_fields = ("name",)
    ordering = ("name", "pk")
    fields = ("tenant", "name", "user", "is_active")
    inlines = (PostingInline,)

    def get_queryset(self, request: HttpRequest) -> Rows:
        return super().get_queryset(request).prefetch_related("facilities")

    @admin.display(description="facilities")
    def places(self, row: Provider) -> str:
        """Name where they work."""
        return ", ".join(facility.name for facility in row.facilities.all())

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        """Add or change the provider; coming slots of one who stops retire."""
        given, who = arguments(form=form, changed=change), actor(request=request)
        if not change:
            tenant_id = given.pop("tenant_id")
            obj.pk = providers.add(tenant_id=tenant_id, values=given, facility_ids=()).pk
        elif given:
            providers.change(provider_id=obj.pk, changes=given, actor=who, now=clock.now())

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Let them work at more places; the slots that their rules make there follow."""
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        added = [
            one.cleaned_data["facility"].pk for one in formset.extra_forms if one.has_changed()
        ]
        if added:
            provider, who = form.instance, actor(request=request)
            places = [*provider.facilities.values_list("pk", flat=True), *added]
            providers.change(
                provider_id=provider.pk, changes={}, facility_ids=places, actor=who, now=clock.now()
            )


@admin.register(ProviderFacility)
class ProviderFacilityAdmin(TenantAdmin):
    """Who works where; changed on the provider's page."""

    list_display = ("provider", link(field="facility"), "created_at")
    list_filter = (FACILITY, PROVIDER)
    list_select_related = ("provider", "facility")
    search_fields = ("provider__name", "facility__name")


@admin.register(Service)
class ServiceAdmin(TenantAdmin):
    """What is done."""

    adds = edits = True
    list_display = ("name", "duration", "price", "currency")
    search_fields = ("name",)
    ordering = ("name", "pk")
    fields = ("tenant", "name", "duration", "price", "currency")


@admin.register(Patient)
class PatientAdmin(TenantAdmin):
    """Who waits or is booked."""

    adds = edits = True
    subject = "patient"
    history_by = "subject_id"
    list_display = ("name", "email", "phone", "tier", "chronic_condition", "external_ref")
    list_filter = (("tier", LevelFilter), "chronic_condition", "language")
    search_fields = ("name", "email", "phone", "external_ref")
    ordering = ("name", "pk")
    readonly_fields = ("erased_at",)
    fields = (
        "tenant", "name", "email", "phone", "language", "tier", "chronic_condition", "external_ref",
        "erased_at",
    )  # fmt: skip
    links: tuple[Column, ...] = (
        rows(title="Appointments", of="scheduling_appointment", by="patient__id__exact"),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep an erased patient erased."""
        erased = obj is not None and obj.erased_at is not None
        return super().has_change_permission(request, obj) and not erased

    def save_model(self, request: HttpRequest, obj: Patient, form: Any, change: bool) -> None:
        if not change:
            obj.save()
        elif form.changed_data:
            patients.update(
                patient_id=obj.pk,
                changes=arguments(form=form, changed=True),
                actor=actor(request=request),
                now=clock.now(),
            )
