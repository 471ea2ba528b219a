# Two images: the service (target serve, the default) and training (target train).
#
#   docker build -t translate .                                      CPU
#   docker build -t translate --build-arg TORCH_VARIANT=cu130 .      NVIDIA GPU
#   docker build -t translate-train --target train .

ARG BASE=python:3.11-slim-bookworm

# --- torch --------------------------------------------------------------------
FROM ${BASE} AS torch
# The same version as in pyproject.toml (a test compares them). It is named here, so that other changes do not install
# torch again.
ARG TORCH_VERSION=2.13.0
ARG TORCH_VARIANT=cpu
# Used in addition to the ordinary index, which is enough where this one cannot be reached.
ARG TORCH_INDEX=https://download.pytorch.org/whl/${TORCH_VARIANT}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv
# torch alone first, its requirements from the ordinary index: looking up each of them in the other index takes long where
# that cannot be reached.
RUN pip --python /opt/venv/bin/python install --no-deps --extra-index-url "${TORCH_INDEX}" "torch==${TORCH_VERSION}" \
 && pip --python /opt/venv/bin/python install "torch==${TORCH_VERSION}"

# --- kernels: optional, left out where no compiler can be installed ---------------
FROM torch AS kernels
RUN (apt-get update && apt-get install -y --no-install-recommends g++) || echo "no compiler: the image works without kernels"
# Only what the build needs, so that other changes do not build them again.
COPY nmt/__init__.py /src/nmt/
COPY nmt/kernels/__init__.py nmt/kernels/__main__.py nmt/kernels/build.py /src/nmt/kernels/
COPY nmt/kernels/csrc/ /src/nmt/kernels/csrc/
RUN cd /src && mkdir -p nmt/kernels/lib && /opt/venv/bin/python -m nmt.kernels --all

# --- packages -----------------------------------------------------------------
FROM torch AS packages
# What only a compiler needs: headers, CMake files, torch's own test helpers.
RUN cd /opt/venv/lib/python3*/site-packages/torch && rm -rf include share test bin/test_* bin/protoc*
COPY pyproject.toml /src/
# More extras of the service: otel.
ARG EXTRAS=
RUN python -c 'import sys, tomllib; p = tomllib.load(open("/src/pyproject.toml", "rb"))["project"]; print("\n".join(sum((p["optional-dependencies"][e] for e in ["service", *sys.argv[1:]]), p["dependencies"])))' ${EXTRAS} > /src/serve.txt \
 && pip --python /opt/venv/bin/python install -r /src/serve.txt
RUN python -c 'import tomllib; p = tomllib.load(open("/src/pyproject.toml", "rb"))["project"]; print("\n".join(p["optional-dependencies"]["train"]))' > /src/train.txt

# --- what both images share -----------------------------------------------------
FROM ${BASE} AS base
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The folders of models, and of files that the service writes. A named volume that is mounted there gets its owner.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app \
 && mkdir -p /app /models /state && chown app:app /models /state
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
STOPSIGNAL SIGTERM

# --- training ---------------------------------------------------------------------
FROM base AS train
COPY --from=packages /src/train.txt /tmp/train.txt
RUN pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action ignore -r /tmp/train.txt \
 && rm /tmp/train.txt
COPY data/ data/
COPY nmt/ nmt/
COPY --from=kernels /src/nmt/kernels/lib nmt/kernels/lib
RUN python -m compileall -q nmt
USER app
ENTRYPOINT ["python", "-m", "nmt.starter"]
CMD ["/models"]

# --- the service --------------------------------------------------------------------
FROM base AS serve
COPY nmt/ nmt/
COPY --from=kernels /src/nmt/kernels/lib nmt/kernels/lib
COPY service/ service/
RUN python -m compileall -q nmt service
ENV NMT_MODELS=/models NMT_HOST=0.0.0.0 NMT_PORT=5000
USER app
EXPOSE 5000
# /ready, not /health: containers that start after this one may rely on an answer. A failure during the start period does
# not count, because models load for minutes on a slow machine.
HEALTHCHECK --interval=5s --timeout=10s --start-period=600s --retries=3 \
    CMD ["python", "-m", "service.probe"]
ENTRYPOINT ["python", "-m", "service"]
