# syntax=docker/dockerfile:1
# The worker and the `sdlc` command. Built in one stage, run in another that has no build tools.

FROM ghcr.io/astral-sh/uv:0.12.1 AS uv

FROM python:3.11.14-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/sdlc
WORKDIR /build
# Dependencies first: this layer stays as long as the lock file does.
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /opt/sdlc && uv pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sdlc ./sdlc
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --no-deps .

FROM python:3.11.14-slim-bookworm
# git and bubblewrap are what a worker works with, uv makes the environments of repositories, and
# tini reaps what their commands leave behind.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap ca-certificates git tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=uv /uv /usr/local/bin/uv
COPY --from=build /opt/sdlc /opt/sdlc
RUN useradd --create-home --uid 10001 --shell /usr/sbin/nologin sdlc \
    && install --directory --owner=sdlc --group=sdlc --mode=0700 /data /cache
ENV PATH=/opt/sdlc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SDLC_DATA_DIR=/data \
    SDLC_CACHE_DIR=/cache \
    SDLC_LOG__FORMAT=json
USER sdlc
WORKDIR /data
VOLUME ["/data", "/cache"]
# Says that the installation works and Temporal answers; what the worker does, Temporal itself watches.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["sdlc", "list", "--json"]
ENTRYPOINT ["/usr/bin/tini", "--", "sdlc"]
CMD ["worker"]
