"""Routes of a tenant's members. Who may call them is in `accounts.roles.ROUTES`."""

from django.urls import path

from accounts.api import invitations, members

urlpatterns = [
    path("members/", members.MembersView.as_view(), name="member-list"),
    path("members/<uuid:id>", members.MemberView.as_view(), name="member-detail"),
    path("invitations/", invitations.InvitationsView.as_view(), name="invitation-list"),
    path("invitations/<uuid:id>", invitations.InvitationView.as_view(), name="invitation-detail"),
]
