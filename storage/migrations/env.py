"""Alembic's entrance: run the migrations on the connection that `storage.migrate` hands over."""

from alembic import context

from storage.migrate import all_tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=all_tables(),
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
context.run_migrations()
