"""What reads the event log and tells people and systems.

Owns the relay, which gives each event its place in one order and writes what it calls for, and the
rows of what is told, which are sent one by one afterwards; reads audit and everything below.
Locks: the relay's advisory lock, then the rows of `audit.Unrelayed`; a sender, its messages alone.
Facts are told from what the log says, never from inside the transaction that made them.
Start reading in `relay.py`, then `kinds.py` and `deliveries.py`.
"""
