"""The demo: a story played through the real processes, and watched in the database.

Owns no tables; what it loads belongs to tenants of its own. The stories do what people do (book,
join, cancel, decline, accept) through the functions that everything else calls or, at the venue,
through the API, and wait until they see in the database what the worker and beat make of it. Takes
no locks besides those functions'. Start reading at `config/management/commands/demo.py`, then
`story.py` and `venues.py`.
"""
