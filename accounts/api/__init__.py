"""The REST API of a tenant's members and invitations, a module for each noun."""
