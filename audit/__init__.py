"""The event log: which transition happened to which ids, and when.

Owns Event, Unrelayed, EventSeq and JobRun, the advisory locks and the clock; reads nothing else.
Locks: a job's advisory lock is taken before any row; no row here is ever locked for update.
Events, once written, cannot be changed, deleted or truncated; triggers refuse it.
Start reading in `events.py`, then `jobs.py`.
"""
