#!/bin/sh
# Creates Temporal's two databases, or brings them up to this version's schema. Safe to repeat.
# Runs in temporalio/admin-tools; the password comes in SQL_PASSWORD.
set -eu

prepare() {
    database=$1
    versions=$2
    sql() { temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p "$DB_PORT" -u "$POSTGRES_USER" --db "$database" "$@"; }
    sql create
    sql setup-schema -v 0.0
    sql update-schema -d "/etc/temporal/schema/postgresql/v12/$versions/versioned"
}

prepare temporal temporal
prepare temporal_visibility visibility
