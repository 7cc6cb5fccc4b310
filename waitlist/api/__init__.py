"""The waitlist over HTTP: a module per noun, each a thin layer over the functions of that noun."""
