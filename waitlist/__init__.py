"""The demand and the engine: who waits, who is offered what, and what becomes of the offer.

Owns queues, policies, entries and holds; reads scheduling and accounts, writes audit.
Locks queue, provider, patient, slot, hold, entry, in this order; several of a kind by id.
Slots and appointments are changed through scheduling's functions, or in one SQL file with holds.
Start reading in `entries.py`, then `holds.py`, `fill.py` and `matching.py`.
"""
