"""Who watches a run: its log, its metrics, its monitors."""
