-- Lets the application's role do what only tests do: empty append-only tables while their triggers
-- sleep. Run by the superuser, on a server that goes with the test run.

GRANT SET ON PARAMETER session_replication_role TO backfill;
