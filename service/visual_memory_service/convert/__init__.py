"""The only place in the service that reads or writes the fields of messages."""
