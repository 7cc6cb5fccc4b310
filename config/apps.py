from django.apps import AppConfig

# Loaded with Django, so that `shared_task` finds this project's broker in every process.
from config.celery import app as celery_app

__all__ = ["ProjectConfig", "celery_app"]


class ProjectConfig(AppConfig):
    name = "config"
    verbose_name = "Backfill"
