# hearout serve, and no more than it needs:
#   docker build -t hearout .
#   docker run -e HEAROUT_TOKEN -e DEEPGRAM_API_KEY -p 8766:8766 hearout serve --stt deepgram
FROM python:3.11-slim AS build
# cli: audio of any sample rate; metrics: /metrics. See the extras in README.md.
ARG EXTRAS=cli,metrics
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY policies policies
RUN python -m venv /opt/hearout && /opt/hearout/bin/pip install --no-cache-dir ".[$EXTRAS]"

FROM python:3.11-slim
COPY --from=build /opt/hearout /opt/hearout
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
# From other machines, so it takes a token: without HEAROUT_TOKEN it does not start.
ENV PATH=/opt/hearout/bin:$PATH HEAROUT_SERVE_HOST=0.0.0.0 HEAROUT_SERVE_PORT=8766 HEAROUT_SERVE_LOG_FORMAT=json
EXPOSE 8766
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=10s --interval=10s --timeout=3s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['HEAROUT_SERVE_PORT'] + '/livez', timeout=2)"]
ENTRYPOINT ["hearout"]
CMD ["serve"]
