"""How Alembic runs the packaged migrations: on the connection that `antechamber.store.migrate` gives it."""

from alembic import context

# the connection, its transaction and the target tables are configured by the caller, who also commits
context.run_migrations()
