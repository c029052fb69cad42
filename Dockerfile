# syntax=docker/dockerfile:1
# One image for every verb: `docker run spillway broker …`, `docker run spillway worker …`.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example.net/spillway:0.1.0 --push .
#
# The build stage runs on the builder's own architecture, whatever the image's: nothing is compiled but TypeScript, and zeromq
# brings its binaries for all of them.
FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY protocol ./protocol
COPY settings ./settings
COPY wire ./wire
COPY broker ./broker
COPY client ./client
COPY worker ./worker
COPY sim ./sim
COPY report ./report
COPY cli ./cli
RUN node scripts/build.mjs
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund
ARG TARGETARCH
# Only what this platform loads: the other systems' binaries are most of the package. Of the ones for glibc, that of Node 22
# asks for the oldest (2.25; the base image has 2.36) and loads in every later Node.
RUN arch=$(echo "${TARGETARCH:-amd64}" | sed s/amd64/x64/) \
  && find node_modules/zeromq/build -name '*.node' -not -path "*/linux/$arch/node/glibc-127-Release/*" -delete \
  && find node_modules/zeromq -depth -type d -empty -delete \
  && rm -rf node_modules/zeromq/src node_modules/zeromq/script \
  && ls -l "node_modules/zeromq/build/linux/$arch/node/glibc-127-Release/addon.node"

FROM gcr.io/distroless/nodejs24-debian12
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 5555 5556 5557 5558 9464
ENTRYPOINT ["/nodejs/bin/node", "/app/dist/cli/main.js"]
CMD ["--help"]
