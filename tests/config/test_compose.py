"""docker-compose.yml, read as what it is."""

import re
from typing import Any

import pytest
import yaml
from django.conf import settings

from config.embedded import postgres

# Of a developer's machine; of compose itself; and what is right as it is behind its proxy.
ELSEWHERE = {
    "BACKFILL_VAR", "DEBUG",
    "POSTGRES_PASSWORD", "DATABASE_PASSWORD",
    "CELERY_BROKER_URL", "DATABASE_CONN_MAX_AGE", "SECURE_COOKIES", "SECURE_SSL_REDIRECT",
    "STATIC_ROOT",
}  # fmt: skip


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found = yaml.safe_load((settings.BASE_DIR / "docker-compose.yml").read_text())["services"]
    assert isinstance(found, dict)
    return found


def test_web_is_given_every_variable_that_there_is(services: dict[str, Any]) -> None:
    text = (settings.BASE_DIR / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", text, re.MULTILINE))
    assert named - set(services["web"]["environment"]) == ELSEWHERE
    assert set(services["worker"]["environment"]) >= named - ELSEWHERE - {
        "BEHIND_TLS_PROXY", "DATABASE_POOL", "PROXIES",
    }  # fmt: skip


def test_kafka_is_one_node_that_nothing_waits_for(services: dict[str, Any]) -> None:
    kafka = services["kafka"]
    assert kafka["profiles"] == ["kafka"]
    told = kafka["environment"]
    assert told["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert told["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"
    assert told["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{told['KAFKA_NODE_ID']}@kafka:9093"
    assert f"kafka:{told['KAFKA_LOG_DIRS']}" in kafka["volumes"]
    for name, service in services.items():
        assert "kafka" not in service.get("depends_on", {}), name


def test_postgres_plans_as_the_embedded_one_does(services: dict[str, Any]) -> None:
    given = f"random_page_cost={postgres.SETTINGS['random_page_cost']}"
    assert services["postgres"]["command"] == ["postgres", "-c", given]
