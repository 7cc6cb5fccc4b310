"""Pages of the supply: `places` and who is there, `openings`, `bookings`."""

from scheduling.admin.bookings import AppointmentAdmin, SlotAdmin
from scheduling.admin.openings import AvailabilityRuleAdmin
from scheduling.admin.places import FACILITY, PROVIDER, SERVICE, FacilityAdmin, PatientAdmin

__all__ = (
    "FACILITY",
    "PROVIDER",
    "SERVICE",
    "AppointmentAdmin",
    "AvailabilityRuleAdmin",
    "FacilityAdmin",
    "PatientAdmin",
    "SlotAdmin",
)
