"""The routes of what people are told: inbox, preferences, deliveries, templates and links."""
