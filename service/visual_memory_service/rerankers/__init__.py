"""Re-rankers that one can run: who looks at a query and its candidates again."""
