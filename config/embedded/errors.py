class EmbeddedError(Exception):
    """An embedded server cannot be started; the text says why and is meant for a person."""
