"""Finished runs, put together: who is matched with whom."""
