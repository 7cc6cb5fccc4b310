"""Tenants, users and who may do what.

Owns Tenant, User and Membership; reads audit.
Locks: none of its own; a tenant row is only ever referenced.
Every table above carries a tenant, and a row's tenant is the one that may see it.
Start reading in `models.py`, then `access.py`.
"""
