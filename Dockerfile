# tunit in a container, for CPUs or for NVIDIA GPUs:
#   docker build -t open-tunit .
#   docker build -t open-tunit:cuda --build-arg COMPUTE=cuda .
# PyTorch's wheel on PyPI brings CUDA's libraries along; the host needs NVIDIA's driver and container toolkit.
FROM python:3.12-slim

ARG COMPUTE=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

WORKDIR /opt/open-tunit
COPY constraints.txt ./
RUN case "$COMPUTE" in \
        cpu) index=https://download.pytorch.org/whl/cpu ;; \
        cuda) index=https://pypi.org/simple ;; \
        *) echo "COMPUTE is $COMPUTE; expected cpu or cuda" >&2; exit 1 ;; \
    esac \
    && pip install --index-url "$index" --extra-index-url https://pypi.org/simple "$(grep '^torch==' constraints.txt)" \
    && grep -v '^torch==' constraints.txt > /tmp/constraints.txt

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install -c /tmp/constraints.txt '.[eval,web,photos,video,export,hub]'

# Where -v "$PWD:/work" puts the caller's folder; what is fetched or decoded is kept in its .cache.
WORKDIR /work
ENV HOME=/work XDG_CACHE_HOME=/work/.cache
ENTRYPOINT ["tunit"]
CMD ["--help"]
