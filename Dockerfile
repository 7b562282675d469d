# Lookout's images, one per target:
#
#   worker         lookout, lookout-worker and lookout-lab, with libtorch for the CPU
#   worker-cuda    the same, with libtorch for CUDA
#   lookout        lookout only, for consumers, without libtorch and GStreamer
#   monitor        lookout with the monitor's configuration file
#   cameras        two RTSP cameras that play a clip in a loop, for docker-compose.yml
#   prometheus, grafana    with the files of deploy/
#
# docs/deploying.md describes how they are used. The build requires BuildKit.

# The stage that provides the programs for the images without CUDA. `compiled` compiles them. `prebuilt` copies them from
# target/images, where scripts/compose/images.sh puts the programs of `make build`; they must have been built on Debian 12.
ARG PROGRAMS=compiled

FROM rust:1.95.0-slim-bookworm AS toolchain
# LOOKOUT_CACHE: libtorch is installed here, and the compiled programs load it from here.
# RUSTUP_TOOLCHAIN: the toolchain of the base image is sufficient. rust-toolchain.toml also lists clippy and rustfmt, which
# rustup would download for each `RUN cargo`.
ENV LOOKOUT_CACHE=/opt/lookout RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY scripts/lib.sh scripts/packages.sh scripts/
RUN scripts/packages.sh build && rm -rf /var/lib/apt/lists/*

FROM toolchain AS libtorch
COPY scripts/libtorch.sh scripts/
RUN LOOKOUT_CUDA=0 scripts/libtorch.sh

FROM toolchain AS libtorch-cuda
COPY scripts/libtorch.sh scripts/
RUN LOOKOUT_CUDA=1 scripts/libtorch.sh

# The files that cargo needs. Other files of the repository are left out, so that changing them compiles nothing.
FROM scratch AS sources
COPY Cargo.toml Cargo.lock rust-toolchain.toml /
COPY crates /crates
COPY schemas/lookout.proto /schemas/
COPY examples/rust /examples/rust
COPY tests/Cargo.toml /tests/
COPY tests/src /tests/src

# The cache mount of `target` keeps the compiled dependencies. `touch` makes cargo compile the workspace's own crates in
# each build: cargo compares modification times, and a source file of another checkout can be older than the cache.
FROM libtorch AS compiled
COPY --from=sources / ./
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,id=lookout-target,target=/src/target \
    find crates examples schemas tests -type f -exec touch {} + && \
    cargo build --release --locked -p lookout-cli -p lookout-worker -p lookout-lab && \
    install -D --strip -t /out target/release/lookout target/release/lookout-worker target/release/lookout-lab

FROM libtorch-cuda AS compiled-cuda
COPY --from=sources / ./
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,id=lookout-target-cuda,target=/src/target \
    find crates examples schemas tests -type f -exec touch {} + && \
    cargo build --release --locked -p lookout-cli -p lookout-worker -p lookout-lab && \
    install -D --strip -t /out target/release/lookout target/release/lookout-worker target/release/lookout-lab

FROM scratch AS prebuilt
COPY target/images /out

FROM ${PROGRAMS} AS programs

# Base of all images with Lookout's programs.
FROM debian:12.12-slim AS base
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libsasl2-2 libssl3 zlib1g && \
    rm -rf /var/lib/apt/lists/* && \
    groupadd --gid 10001 lookout && \
    useradd --uid 10001 --gid lookout --no-create-home --shell /usr/sbin/nologin lookout && \
    install -d -o lookout -g lookout /var/cache/lookout
COPY LICENSE THIRD_PARTY_NOTICES.md /usr/share/doc/lookout/
# `make release` adds the labels for version, revision and time, and the bill of materials in /usr/share/doc/lookout.
LABEL org.opencontainers.image.vendor="Lookout" org.opencontainers.image.licenses="Apache-2.0"
ENV LOOKOUT_CACHE=/var/cache/lookout

FROM base AS lookout
LABEL org.opencontainers.image.title="Lookout" org.opencontainers.image.description="Consumers of Lookout's records"
COPY --from=programs /out/lookout /usr/local/bin/
COPY deploy/compose/cameras.toml /etc/lookout/
USER 10001:10001
# These commands have no health endpoint; most of them run once and exit.
HEALTHCHECK NONE
ENTRYPOINT ["lookout"]
CMD ["--help"]

FROM base AS monitor
LABEL org.opencontainers.image.title="Lookout monitor" \
    org.opencontainers.image.description="Web page, rules and alerts for Lookout's cameras"
RUN apt-get update && \
    apt-get install -y --no-install-recommends curl && \
    rm -rf /var/lib/apt/lists/* && \
    install -d -o lookout -g lookout /var/lib/lookout
COPY --from=programs /out/lookout /usr/local/bin/
COPY deploy/compose/monitor.toml /etc/lookout/
EXPOSE 9700
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:9700/healthz"]
USER 10001:10001
ENTRYPOINT ["lookout"]
CMD ["monitor", "/etc/lookout/monitor.toml"]

FROM base AS worker-base
LABEL org.opencontainers.image.title="Lookout worker" \
    org.opencontainers.image.description="Decodes cameras, runs networks, and publishes records to Kafka"
RUN apt-get update && \
    apt-get install -y --no-install-recommends curl glib-networking gstreamer1.0-libav \
        gstreamer1.0-plugins-bad gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
        gstreamer1.0-plugins-ugly && \
    rm -rf /var/lib/apt/lists/*
COPY deploy/compose/pipeline.toml deploy/compose/pipeline-gpu.toml /etc/lookout/
# GIO, which GStreamer's RTSP elements use, would log errors because the container has no dconf service.
ENV GSETTINGS_BACKEND=memory
EXPOSE 9600
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:9600/healthz"]
# On SIGTERM, the worker first publishes its in-flight frames, for at most `drain_s`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["lookout"]
CMD ["run", "/etc/lookout/pipeline.toml", "--summary", "json"]

FROM worker-base AS worker
COPY --from=libtorch /opt/lookout/libtorch-2.11.0-cpu/lib /opt/lookout/libtorch-2.11.0-cpu/lib
# The licenses of libtorch require that their texts are distributed with it.
COPY --from=libtorch /opt/lookout/libtorch-2.11.0-cpu/licenses /opt/lookout/libtorch-2.11.0-cpu/licenses
# Programs that were built outside contain the library path of the machine that built them.
RUN echo /opt/lookout/libtorch-2.11.0-cpu/lib >/etc/ld.so.conf.d/lookout.conf && ldconfig
COPY --from=programs /out/ /usr/local/bin/
USER 10001:10001

FROM worker-base AS worker-cuda
COPY --from=libtorch-cuda /opt/lookout/libtorch-2.11.0-cu130/nvidia /opt/lookout/libtorch-2.11.0-cu130/nvidia
COPY --from=libtorch-cuda /opt/lookout/libtorch-2.11.0-cu130/torch/lib /opt/lookout/libtorch-2.11.0-cu130/torch/lib
COPY --from=libtorch-cuda /opt/lookout/libtorch-2.11.0-cu130/torch/licenses /opt/lookout/libtorch-2.11.0-cu130/torch/licenses
COPY --from=compiled-cuda /out/ /usr/local/bin/
# The NVIDIA container toolkit mounts the driver libraries of these capabilities.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
USER 10001:10001
CMD ["run", "/etc/lookout/pipeline-gpu.toml", "--summary", "json"]

FROM debian:12.12-slim AS clip
ENV LOOKOUT_CACHE=/opt/lookout
COPY scripts/lib.sh scripts/clip.sh /src/scripts/
RUN apt-get update && cp "$(/src/scripts/clip.sh)" /clip.avi

FROM bluenviron/mediamtx:1.12.0-ffmpeg AS cameras
COPY --from=clip /clip.avi /tmp/clip.avi
# One key frame per second, so that clients can decode soon after they connect.
RUN ffmpeg -nostdin -v error -i /tmp/clip.avi -an -c:v libx264 -preset veryfast -pix_fmt yuv420p -bf 0 -r 10 -g 10 \
        /clip.mp4 && \
    rm /tmp/clip.avi
COPY deploy/compose/mediamtx.yml /mediamtx.yml
EXPOSE 8554
USER 10001:10001
# Reads one frame of each camera. ffmpeg would otherwise analyze each stream for several seconds.
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 \
    CMD ["ffmpeg", "-nostdin", "-v", "error", \
         "-analyzeduration", "500000", "-rtsp_transport", "tcp", "-i", "rtsp://127.0.0.1:8554/north-gate", \
         "-analyzeduration", "500000", "-rtsp_transport", "tcp", "-i", "rtsp://127.0.0.1:8554/south-gate", \
         "-map", "0:v", "-map", "1:v", "-frames:v", "1", "-f", "null", "-"]

FROM prom/prometheus:v3.5.0 AS prometheus
COPY deploy/prometheus/prometheus.yml deploy/prometheus/rules.yml /etc/prometheus/
USER 65534:65534

FROM grafana/grafana:12.1.1 AS grafana
COPY deploy/grafana/datasource.yml /etc/grafana/provisioning/datasources/lookout.yml
COPY deploy/grafana/dashboards.yml /etc/grafana/provisioning/dashboards/lookout.yml
COPY deploy/grafana/lookout.json /var/lib/lookout/dashboards/lookout.json
USER 472:0
