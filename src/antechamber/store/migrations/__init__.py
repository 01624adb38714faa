"""The packaged Alembic migrations."""
