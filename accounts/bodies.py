"""Bodies taken by the letter: a text is a text, a number a number, and every member is known."""

import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from accounts.problems import one_of

# What each kind of field is in JSON; the first that a field is an instance of counts.
KINDS: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], tuple[type, ...]], ...] = (
    (serializers.BooleanField, (bool,)),
    (serializers.IntegerField, (int,)),
    (serializers.FloatField, (int, float)),
    (serializers.DecimalField, (str,)),
    (serializers.ChoiceField, (str, int)),
    (serializers.CharField, (str,)),
    (serializers.UUIDField, (str,)),
    (serializers.DateTimeField, (str,)),
    (serializers.DateField, (str,)),
    (serializers.TimeField, (str,)),
    (serializers.DurationField, (str,)),
)

# What is said of each kind where something else was given.
WANTED: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], str], ...] = (
    (serializers.BooleanField, "true or false"),
    (serializers.IntegerField, "a whole number"),
    (serializers.FloatField, "a number"),
    (serializers.DecimalField, 'a decimal number as a text, such as "12.50"'),
    (serializers.UUIDField, "an id (UUID)"),
    (serializers.DateTimeField, "a time with its zone, such as 2030-01-31T09:00:00Z"),
    (serializers.DateField, "a day, such as 2030-01-31"),
    (serializers.TimeField, "a time of day, such as 09:00"),
    (serializers.DurationField, "a duration, such as PT30M"),
    (serializers.ListField, "a list"),
    (serializers.CharField, "a text"),
)

# What a text of each kind looks like, where the framework would take more than the schema says.
TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"
SHAPES: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], str], ...] = (
    (serializers.UUIDField, r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    (serializers.DateTimeField, r"\d{4}-\d\d-\d\d[Tt ][\d:.]+([Zz]|[+-]\d\d:\d\d)"),
    (serializers.DateField, r"\d{4}-\d\d-\d\d"),
    (serializers.TimeField, TIME),
    (serializers.DurationField, r"P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?"),
)


class Body(serializers.Serializer[Any]):
    """A row in a body. Values of another JSON type than the field's, and members that it does not
    have, are refused, where the framework would guess or look away.
    """

    def get_fields(self) -> dict[str, Any]:
        """Let those that take a choice say which there are."""
        fields = super().get_fields()
        for field in fields.values():
            one = field.child if isinstance(field, serializers.ListField) else field
            if isinstance(one, serializers.ChoiceField):
                one.error_messages["invalid_choice"] = one_of(choices=one.choices)
        return fields

    def to_internal_value(self, data: Any) -> Any:
        """Check the letter, then read as usual."""
        if isinstance(data, Mapping):
            errors = {
                **{
                    name: serializers.ErrorDetail("There is no such field.", code="unknown")
                    for name in data
                    if name not in self.fields
                },
                **{
                    name: serializers.ErrorDetail(_wanted(field), code="type")
                    for name, field in self.fields.items()
                    if not field.read_only and name in data and not _fits(field, data[name])
                },
            }
            if errors:
                raise serializers.ValidationError({name: [error] for name, error in errors.items()})
        return super().to_internal_value(data)


def _wanted(field: Any) -> str:
    """Say what a field takes, without what was given, which may be anything about anybody."""
    found = (words for kind, words in WANTED if isinstance(field, kind))
    return f"Give {next(found, 'another type')}."


def _fits(field: Any, value: Any) -> bool:
    if value is None:
        return True  # the field says whether it may be
    if isinstance(field, serializers.ListField):
        return isinstance(value, list) and all(_fits(field.child, one) for one in value)
    for kind, types in KINDS:
        if isinstance(field, kind):
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                return False
            shapes = (shape for one, shape in SHAPES if isinstance(field, one))
            return all(re.fullmatch(shape, str(value), re.ASCII) for shape in shapes)
    return True
