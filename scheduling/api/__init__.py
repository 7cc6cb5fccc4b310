"""The REST API of the supply and of those who log in, a module for each noun."""
