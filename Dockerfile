# The gateway's image: Python, the virtual environment that image/build.sh makes, and nothing else.
#
#   docker build --tag ims-gateway .
#
# The base is 3.11.16 on Debian 12, for every platform. Its successor's digest, at each release:
#   docker buildx imagetools inspect python:3.11-slim-bookworm
ARG PYTHON=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${PYTHON} AS build
WORKDIR /source
COPY . .
RUN sh image/build.sh /opt/ims-gateway /build

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="IMS Gateway" \
      org.opencontainers.image.description="A multi-tenant gRPC gateway in front of Alibaba Cloud's Intelligent Media Services" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/ims-gateway /opt/ims-gateway
ENV PATH=/opt/ims-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    IMSGW_LISTEN=0.0.0.0:50051 \
    IMSGW_ADMIN_LISTEN=127.0.0.1:50052 \
    IMSGW_METRICS_LISTEN=0.0.0.0:9464
# Neither root nor anybody whom the base knows. It writes nowhere but to what is mounted.
USER 65532:65532
WORKDIR /
EXPOSE 50051 9464
# Kubernetes asks by probes of its own; this is for those who run the image otherwise.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["imsgw", "health"]
ENTRYPOINT ["imsgw"]
CMD ["serve"]
