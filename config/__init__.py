"""What belongs to no app: settings, processes, probes, embedded servers, commands for the house.

Owns no tables. May read every app; no app may import it (tasks use `celery.shared_task`, and what
an app needs from here reaches it through `django.conf.settings`). Takes no locks in the database.
Start reading at `settings.py`, then `embedded/__init__.py` for how a fresh machine gets servers.
"""
