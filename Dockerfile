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

FROM rust:1.95.0-slim-bookworm AS toolchain
# libtorch is installed here, and the programs load it from here.
ENV LOOKOUT_CACHE=/opt/lookout
WORKDIR /src
COPY scripts/lib.sh scripts/packages.sh scripts/
RUN scripts/packages.sh build && rm -rf /var/lib/apt/lists/*

FROM toolchain AS build-lookout
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked -p lookout-cli && \
    install -D --strip -t /out target/release/lookout

FROM toolchain AS build-worker
COPY scripts/libtorch.sh scripts/
RUN LOOKOUT_CUDA=0 scripts/libtorch.sh
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked -p lookout-cli -p lookout-worker -p lookout-lab && \
    install -D --strip -t /out target/release/lookout target/release/lookout-worker target/release/lookout-lab

FROM toolchain AS build-worker-cuda
COPY scripts/libtorch.sh scripts/
RUN LOOKOUT_CUDA=1 scripts/libtorch.sh
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked -p lookout-cli -p lookout-worker -p lookout-lab && \
    install -D --strip -t /out target/release/lookout target/release/lookout-worker target/release/lookout-lab

# Base of all images with Lookout's programs.
FROM debian:12.12-slim AS base
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libsasl2-2 libssl3 zlib1g && \
    rm -rf /var/lib/apt/lists/* && \
    groupadd --gid 10001 lookout && \
    useradd --uid 10001 --gid lookout --no-create-home --shell /usr/sbin/nologin lookout && \
    install -d -o lookout -g lookout /var/cache/lookout
COPY LICENSE THIRD_PARTY_NOTICES.md /usr/share/doc/lookout/
ENV LOOKOUT_CACHE=/var/cache/lookout

FROM base AS lookout
COPY --from=build-lookout /out/ /usr/local/bin/
COPY deploy/compose/cameras.toml /etc/lookout/
USER 10001:10001
# These commands have no health endpoint; most of them run once and exit.
HEALTHCHECK NONE
ENTRYPOINT ["lookout"]
CMD ["--help"]

FROM base AS monitor
RUN apt-get update && \
    apt-get install -y --no-install-recommends curl && \
    rm -rf /var/lib/apt/lists/* && \
    install -d -o lookout -g lookout /var/lib/lookout
COPY --from=build-lookout /out/ /usr/local/bin/
COPY deploy/compose/monitor.toml /etc/lookout/
EXPOSE 9700
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:9700/healthz"]
USER 10001:10001
ENTRYPOINT ["lookout"]
CMD ["monitor", "/etc/lookout/monitor.toml"]

FROM base AS worker-base
RUN apt-get update && \
    apt-get install -y --no-install-recommends curl glib-networking gstreamer1.0-libav \
        gstreamer1.0-plugins-bad gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
        gstreamer1.0-plugins-ugly && \
    rm -rf /var/lib/apt/lists/*
COPY deploy/compose/pipeline.toml deploy/compose/pipeline-gpu.toml /etc/lookout/
EXPOSE 9600
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:9600/healthz"]
# On SIGTERM, the worker first publishes its in-flight frames, for at most `drain_s`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["lookout"]
CMD ["run", "/etc/lookout/pipeline.toml", "--summary", "json"]

FROM worker-base AS worker
COPY --from=build-worker /opt/lookout/libtorch-2.11.0-cpu/lib /opt/lookout/libtorch-2.11.0-cpu/lib
COPY --from=build-worker /out/ /usr/local/bin/
USER 10001:10001

FROM worker-base AS worker-cuda
COPY --from=build-worker-cuda /opt/lookout/libtorch-2.11.0-cu130/nvidia /opt/lookout/libtorch-2.11.0-cu130/nvidia
COPY --from=build-worker-cuda /opt/lookout/libtorch-2.11.0-cu130/torch/lib /opt/lookout/libtorch-2.11.0-cu130/torch/lib
COPY --from=build-worker-cuda /out/ /usr/local/bin/
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
HEALTHCHECK --interval=10s --timeout=8s --start-period=20s --retries=3 \
    CMD ["ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", "rtsp://127.0.0.1:8554/north-gate", "-frames:v", "1", "-f", "null", "-"]

FROM prom/prometheus:v3.5.0 AS prometheus
COPY deploy/prometheus/prometheus.yml deploy/prometheus/rules.yml /etc/prometheus/
USER 65534:65534

FROM grafana/grafana:12.1.1 AS grafana
COPY deploy/grafana/datasource.yml /etc/grafana/provisioning/datasources/lookout.yml
COPY deploy/grafana/dashboards.yml /etc/grafana/provisioning/dashboards/lookout.yml
COPY deploy/grafana/lookout.json /var/lib/lookout/dashboards/lookout.json
USER 472:0
