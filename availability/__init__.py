"""What venues say of themselves: RFPs and their answers, signals, the status that is shown.

Owns RFPs, their copies at venues, signals and each venue's availability; reads scheduling and
accounts, writes audit. Locks organizer, then rfp, then venue; several of a kind by id.
Knows nothing of who waits: that a venue has room again is told as an event.
Start reading in `rfps.py`, then `signals.py` and `statuses.py`.
"""
