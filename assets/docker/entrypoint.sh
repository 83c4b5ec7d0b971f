#!/bin/sh
# Start the app for visitors from other computers, in demo mode. Arguments are passed to Streamlit.
#   PORT                      port, by default 8501
#   HEADPRUNE_DEMO            settings file of demo mode, by default assets/demo.toml
#   HEADPRUNE_ALLOWED_HOSTS   names that visitors can open the app by, separated by spaces (Spaces set SPACE_HOST)
#   HEADPRUNE_BASE_PATH       path behind a reverse proxy, such as headprune
#   HEADPRUNE_ADDRESS         address to bind to, by default 0.0.0.0 (all)
set -eu
cd "$(dirname "$0")/../.."

set -f
for name in localhost 127.0.0.1 ${HEADPRUNE_ALLOWED_HOSTS:-} ${SPACE_HOST:-}; do
    set -- --server.allowedHosts "$name" "$@"
done
if [ -n "${HEADPRUNE_BASE_PATH:-}" ]; then
    set -- --server.baseUrlPath "$HEADPRUNE_BASE_PATH" "$@"
fi
if [ -n "${HEADPRUNE_DEMO:-}" ]; then
    set -- --demo "$HEADPRUNE_DEMO" "$@"
else
    set -- --demo "$@"
fi
exec python -m headprune_core app --server.address "${HEADPRUNE_ADDRESS:-0.0.0.0}" --server.port "${PORT:-8501}" \
    --server.headless true "$@"
