"""The REST views of what venues are asked, answer and show."""
