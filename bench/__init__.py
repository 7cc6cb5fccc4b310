"""Measurements: `manage.py bench NAME`. Each figure is a ratio, taken in one run, to a floor.

The floor is the least that PostgreSQL can be asked to do for the same result: the same rows of the
same tables, with the same constraints, indexes, triggers and settings. Reads and calls everything,
is called by nothing. Start reading in `worlds.py`, then `fills.py`; `measures.py` holds the clock.

`manage.py replay FILE` plays what happened elsewhere: start in `replays.py`, then `players.py`.
"""
