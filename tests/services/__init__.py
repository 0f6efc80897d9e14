"""Real servers that the suite starts itself on free ports and stops again."""
