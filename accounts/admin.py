"""What every page of a tenant's rows shares, and the pages of tenants, people and events.

The tenant is applied in one place for each way in: `get_queryset` (lists, pages, actions, search,
the choices that are looked up), `formfield_for_foreignkey` (what a form accepts), `TenantFilter`
(the sidebar).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminTextInputWidget

from accounts import access, members
from accounts.access import Right
from accounts.models import IdempotencyKey, Invitation, Membership, Tenant, User
from audit import clock
from audit.columns import EMPTY, label, link
from audit.filters import DayFilter, KindFilter
from audit.models import Event
from audit.pages import Admin, Answer, Guarded, RowForm, Rows, action, actor, arguments


class IdSelect(AutocompleteSelect):
    """A choice that is looked up; what is not an id is nobody's, not an error of the page."""

    def optgroups(self, name: str, value: list[str], attr: Any = None) -> Any:  # type: ignore[override]
        return super().optgroups(name, [id for id in value if self._is_id(id)], attr)

    def _is_id(self, value: str) -> bool:
        with suppress(ValueError):
            return bool(UUID(value))
        return False


class InTenant(Guarded):
    """Rows that carry a tenant: who may work there sees them, and nobody else."""

    #: What one must have to see rows, and to change them.
    right = Right.WORK
    edit_right = Right.WORK
    admin_site: Any
    autocomplete_fields: tuple[str, ...] = ()

    def may(self, request: HttpRequest, row: Any = None, *, edit: bool = False) -> bool:
        """Say whether the user may see the row, or rows of any tenant; or change them."""
        right = self.edit_right if edit else self.right
        return access.may(user=request.user, right=right, tenant_id=getattr(row, "tenant_id", None))

    def get_queryset(self, request: HttpRequest) -> Rows:
        """Return the rows of the user's tenants."""
        mine = super().get_queryset(request)  # type: ignore[misc]
        return access.rows_of(user=request.user, rows=mine, right=self.right)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer and accept the user's tenants and what is in them, and nothing else."""
        user, other = request.user, db_field.remote_field.model
        if other is Tenant:
            tenants = access.tenants_of(user=user, right=self.edit_right)
            kwargs |= {
                "queryset": tenants,
                "initial": tenants[0] if len(tenants) == 1 else None,
            }
        elif other is User:
            kwargs["queryset"] = access.members_of(user=user)
        else:
            kwargs["queryset"] = access.rows_of(user=user, rows=other._default_manager.all())
        if db_field.name in self.autocomplete_fields:
            kwargs["widget"] = IdSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


class TenantAdmin(InTenant, Admin):
    """A list and pages of rows that carry a tenant."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let nothing move from tenant to tenant."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        return (*fixed, "tenant") if obj is not None else fixed

    def get_list_display(self, request: HttpRequest) -> Any:
        """Say whose a row is to those who see several tenants'."""
        columns = tuple(super().get_list_display(request))
        user = request.user
        several = access.is_operator(user=user) or len(access.tenant_ids(user=user)) > 1
        return (*columns, "tenant") if several else columns

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Let those who see all tenants choose one."""
        filters = tuple(super().get_list_filter(request))
        operator = access.is_operator(user=request.user)
        return (*filters, ("tenant", TenantFilter)) if operator else filters

    def get_list_select_related(self, request: HttpRequest) -> Any:
        """Read at once what the columns show."""
        return (*self.list_select_related, "tenant")


class TenantInline(InTenant, TabularInline):  # type: ignore[misc]
    """Rows of the same tenant as the row whose page they are on."""

    extra = 0
    show_change_link = True


class TenantFilter(AutocompleteSelectFilter):  # type: ignore[misc]
    """Choose one of the rows that the user may see, by typing a part of its name."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Name the chosen row only if the user may see it."""
        site = changelist.model_admin.admin_site
        seen = site.get_model_admin(self.field.remote_field.model).get_queryset(self.request)
        for choice in super().choices(changelist):
            choice["form"].fields[self.lookup_kwarg].queryset = seen
            yield choice


@admin.register(Tenant)
class TenantsAdmin(Admin):
    """The organisations."""

    adds = edits = True
    list_display = (
        "name", "slug", label(field="kind", colours=dict.fromkeys(Tenant.Kind.values, "info")),
        "created_at",
    )  # fmt: skip
    list_filter = ("kind",)
    search_fields = ("name", "slug")
    ordering = ("name", "pk")
    fields = ("name", "slug", "kind")
    prepopulated_fields: ClassVar[dict[str, Sequence[str]]] = {"slug": ("name",)}


class NewMemberForm(RowForm):
    """A member by the address they log in with; an account is made where there is none."""

    email = forms.EmailField(widget=UnfoldAdminEmailInputWidget)
    name = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="for a new account, which has no password until one is set",
    )

    class Meta:
        model = Membership
        fields = ("tenant", "role")


MEMBER = link(field="user")


@admin.register(Membership)
class MembershipAdmin(TenantAdmin):
    """Who works for a tenant, and as what."""

    adds = edits = True
    right = edit_right = Right.MANAGE
    list_display = (
        MEMBER,
        label(field="role", colours={"admin": "primary", "staff": "info", "provider": "success"}),
        "created_at",
    )
    list_filter = ("role",)
    list_select_related = ("user",)
    search_fields = ("user__email", "user__name")
    actions = ("remove",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("tenant", MEMBER, "role") if obj else ("tenant", "email", "name", "role")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = super().get_readonly_fields(request, obj)
        return (*fixed, MEMBER) if obj else fixed

    def describe(self, row: Membership) -> str:
        return str(row.user)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = NewMemberForm
        return super().get_form(request, obj, change=change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        """Add the member, or give them another role."""
        given, who = arguments(form=form, changed=change), actor(request=request)
        if not change:
            obj.pk = members.add(**given, actor=who, now=clock.now()).pk
        elif given:
            members.change(
                tenant_id=obj.tenant_id, member_id=obj.pk, **given, actor=who, now=clock.now()
            )

    @action(description="Remove")
    def remove(self, request: HttpRequest, rows: Rows) -> Answer:
        """Take members out of their tenants; they are out at once."""
        tenants = {row.pk: row.tenant_id for row in rows}

        def call(*, member_id: UUID, **given: Any) -> None:
            members.remove(tenant_id=tenants[member_id], member_id=member_id, **given)

        return self.run(request, rows, call, id="member_id", done="Removed")


class NewUserForm(UserCreationForm):  # type: ignore[misc]
    """A user with a password."""

    class Meta:
        model = User
        fields = ("email", "name")


class UserForm(UserChangeForm):  # type: ignore[misc]
    """A user; the password has a page of its own."""

    class Meta:
        model = User
        fields = ("email", "password", "name", "phone", "language", "is_active", "is_superuser")


class MembershipInline(TenantInline):
    """What a user is in which tenants; roles are changed on the pages of the members."""

    model = Membership
    adds = True
    right = edit_right = Right.OPERATE
    fields = ("tenant", "role")


admin.site.unregister(Group)  # rights follow from memberships


@admin.register(User)
class UserAdmin(Admin, DjangoUserAdmin):  # type: ignore[misc,type-arg]
    """Everybody who logs in."""

    adds = edits = True
    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("email", "name")  # type: ignore[misc]
    ordering = ("email",)  # type: ignore[misc]
    filter_horizontal = ()
    readonly_fields = ("last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "phone", "language")}),
        ("Access", {"fields": ("is_active", "is_superuser", "last_login", "created_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)
    inlines = (MembershipInline,)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Make the user a member of more tenants."""
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        user, who = form.instance, actor(request=request)
        for one in formset.extra_forms:
            if one.has_changed():
                formset.new_objects.append(
                    members.add(
                        tenant_id=one.cleaned_data["tenant"].pk,
                        email=user.email,
                        name=user.name,
                        role=one.cleaned_data["role"],
                        actor=who,
                        now=clock.now(),
                    )
                )


@admin.register(Event)
class EventAdmin(InTenant, Admin):
    """What happened, in the order in which it was written. Nobody changes it."""

    list_display = ("at", "kind", "about", "change", "slot", "entry", "actor")
    asked_by = ("subject_id", "entry_id")
    list_filter = (KindFilter, ("at", DayFilter))
    ids = ("pk", "subject_id", "entry_id")
    readonly_fields = ("about", "change", "actor", "entry", "hold", "slot", "facility", "provider")
    fields = (
        "at", "kind", "tenant_id", "about", "change", "actor", "entry", "hold", "slot", "facility",
        "provider", "data",
    )  # fmt: skip

    @admin.display(description="about")
    def about(self, row: Event) -> str:
        """Link to what it happened to."""
        return self._link(row.subject_type, row.subject_id)

    @admin.display(description="change")
    def change(self, row: Event) -> str:
        """Show the status before and after."""
        return " > ".join(filter(None, (row.previous_status, row.new_status))) or EMPTY

    @admin.display(description="by")
    def actor(self, row: Event) -> str:
        """Say who did it."""
        return f"{row.actor_type} {row.actor_id or ''}"

    @admin.display(description="entry")
    def entry(self, row: Event) -> str:
        return self._link("entry", row.entry_id)

    @admin.display(description="hold")
    def hold(self, row: Event) -> str:
        return self._link("hold", row.hold_id)

    @admin.display(description="slot")
    def slot(self, row: Event) -> str:
        return self._link("slot", row.slot_id)

    @admin.display(description="facility")
    def facility(self, row: Event) -> str:
        return self._link("facility", row.facility_id)

    @admin.display(description="provider")
    def provider(self, row: Event) -> str:
        return self._link("provider", row.provider_id)

    def _link(self, subject: str, id: UUID | None) -> str:
        """Link to a row by what events call it; ids outlive their rows, so it may lead nowhere."""
        if id is None:
            return EMPTY
        for model, page in self.admin_site._registry.items():
            if getattr(page, "subject", "") == subject:
                name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
                url = reverse(name, args=[id])
                return format_html('<a href="{}" class="text-link">{} {}</a>', url, subject, id)
        return f"{subject} {id}"


@admin.register(Invitation)
class InvitationAdmin(TenantAdmin):
    """Who was asked to join, as what, and whether they did; made and withdrawn over the API."""

    right = edit_right = Right.MANAGE
    list_display = ("email", "role", "created_at", "expires_at", "mailed_at", "accepted_at")
    list_filter = ("role",)
    search_fields = ("email", "name")
    fields = (
        "tenant", "email", "name", "role", "invited_by", "expires_at", "mailed_at", "accepted_at",
    )  # fmt: skip


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(Admin):
    """Writes that were answered. What was answered stays out of sight: it is the caller's."""

    list_display = ("key", "caller", "status", "created_at")
    fields = ("key", "caller", "status", "created_at")
