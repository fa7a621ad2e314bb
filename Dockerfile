# The whole product in one image, as a user without rights. Not built by the tests, which only read it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/mallard && /opt/mallard/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY streamer streamer
COPY dashboard dashboard
COPY fixtures fixtures
RUN /opt/mallard/bin/pip install --no-cache-dir hatchling \
    && /opt/mallard/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/mallard/bin/pip uninstall -y hatchling

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin mallard \
    && mkdir /data && chown mallard:mallard /data && chmod 700 /data
COPY --from=build /opt/mallard /opt/mallard
ENV PATH=/opt/mallard/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8050 8765
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8050/readyz', timeout=2)"]
ENTRYPOINT ["mallard"]
CMD ["serve", "--public", "--data", "/data"]
