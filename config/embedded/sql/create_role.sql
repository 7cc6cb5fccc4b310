-- Makes what the application connects as and to, unless it is there. Run by the superuser through psql,
-- since a database cannot be made inside a block. Takes no locks on tables.

SELECT 'CREATE ROLE backfill LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'backfill') \gexec

SELECT 'CREATE DATABASE backfill OWNER backfill'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'backfill') \gexec

-- For `manage.py bench`, which measures in databases of its own.
ALTER ROLE backfill CREATEDB;
