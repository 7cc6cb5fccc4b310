"""The demo: a story played through the real processes, and watched in the database.

Owns no tables; what it loads belongs to tenants of its own. The story does what people do (book,
join, cancel, decline, accept) through the functions that everything else calls, and waits until it
sees in the database what the worker and beat make of it. Takes no locks besides those functions'.
Start reading at `config/management/commands/demo.py`, then `story.py`.
"""
