"""The named constraints of an app's tables, to see that each has a statement that it refuses."""

from django.apps import apps


def names(*labels: str) -> set[str]:
    """Return the names of all constraints that the models of these apps declare."""
    return {
        constraint.name
        for label in labels
        for model in apps.get_app_config(label).get_models()
        for constraint in model._meta.constraints
    }
