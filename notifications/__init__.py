"""What reads the event log and tells people and systems.

Owns the relay, which gives each event its place in one order; reads audit and everything below.
Locks: the relay's advisory lock, then the rows of `audit.Unrelayed` that it takes.
Facts are told from what the log says, never from inside the transaction that made them.
Start reading in `relay.py`.
"""
