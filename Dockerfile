# s2vc in a container, for CPUs or GPUs:
#
#     docker build -t s2vc .                                                              # CPU
#     docker build -t s2vc --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .   # CUDA 13.0
#     docker run --rm --ipc=host -v "$PWD:/work" --user "$(id -u):$(id -g)" s2vc s2vc-prep demo      # with --gpus all for CUDA
#
# --ipc=host: clips and Ray's objects pass through shared memory, of which Docker gives a container 64 MB.
# CUDA needs the host's driver and the NVIDIA Container Toolkit; the libraries of CUDA come with torch.

ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=all

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# torch first, and by itself: this layer, the largest, is built again only where the index changes. Which torch fits is
# the index's to say.
# hadolint ignore=DL3013
RUN pip install --index-url "${TORCH_INDEX}" "torch>=2.11"

WORKDIR /opt/s2vc
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY manifests ./manifests
COPY pipeline ./pipeline
COPY training ./training
COPY eval ./eval
COPY recipes ./recipes
# hadolint ignore=DL3013
RUN pip install ".[${EXTRAS}]"

# Whoever runs it may have any id (--user): what is written outside /work goes to a home that everybody may write.
# hadolint ignore=DL3059
RUN mkdir -m 1777 /home/any
ENV HOME=/home/any
WORKDIR /work
CMD ["s2vc-prep", "--help"]
