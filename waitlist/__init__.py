"""The demand and the engine: who waits, who is offered what, and what becomes of the offer.

Owns queues, policies, entries, holds and breakers; reads availability, scheduling and accounts.
Locks queue, provider, patient, organizer, slot, hold, entry, in this order, each kind by id.
Slots and appointments are changed through scheduling's functions, or in one SQL file with holds.
Start reading in `entries.py`, then `holds.py`, `fill.py`, `matching.py` and `cascades.py`.
"""
