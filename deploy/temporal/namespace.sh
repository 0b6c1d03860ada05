#!/bin/sh
# Makes the namespace `default`, where it is missing. Runs in temporalio/admin-tools.
set -eu

namespace=default
attempts=30

until temporal operator cluster health --address "$TEMPORAL_ADDRESS" >/dev/null 2>&1; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || { echo "Temporal at $TEMPORAL_ADDRESS is not healthy." >&2; exit 1; }
    sleep 2
done
temporal operator namespace describe --namespace "$namespace" --address "$TEMPORAL_ADDRESS" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$namespace" --retention 720h --address "$TEMPORAL_ADDRESS"
