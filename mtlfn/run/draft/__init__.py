"""A first configuration, drafted by looking at files."""
