"""The supply: facilities, opening rules, slots and appointments.

Owns everything about what can be booked and by whom it is; reads accounts and writes audit.
Locks provider, then patient, then slot, then appointment; several of a kind by id.
Knows nothing of who waits: what becomes free is told as a `slot.opened` event.
Start reading in `slots.py`, then `appointments.py`, `blocks.py` and `generation.py`.
"""
