"""The admin's pages as a browser asks for them."""

from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.test import Client
from django.urls import reverse


def url(model: type[Model], name: str, *args: Any, **query: Any) -> str:
    """Return the address of a page."""
    meta = model._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=args)
    return f"{address}?{urlencode(query)}" if query else address


def act(client: Client, name: str, *rows: Model, **answers: Any) -> list[str]:
    """Run an action of the rows' list, answering what it asks, and return what it says."""
    data = {"action": name, "_selected_action": [str(row.pk) for row in rows], **answers}
    if answers:
        data["answered"] = "1"
    return said(client.post(url(type(rows[0]), "changelist"), data, follow=True))


def send(client: Client, address: str, **data: Any) -> tuple[dict[str, list[str]], list[str]]:
    """Send a form; return its errors by field, none if it was saved, and what was said."""
    response: Any = client.post(address, data, follow=True)
    assert response.status_code == 200, response
    saved = bool(response.redirect_chain)
    return {} if saved else dict(response.context["adminform"].form.errors), said(response)


def said(response: Any) -> list[str]:
    """Return the messages on a page."""
    return [message.message for message in response.context["messages"]]
