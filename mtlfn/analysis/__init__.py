"""From finished runs to answers: the verdict, the transfer matrix, the conflicts and the report."""
