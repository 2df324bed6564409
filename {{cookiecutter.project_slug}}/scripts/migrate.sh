#!/bin/sh
# Migrate the database that {{ cookiecutter.__direct_url_variable }} names.
set -eu

echo "Running database migrations..."
alembic upgrade head
echo "Migrations complete."
