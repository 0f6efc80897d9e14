"""Tools of the house: what the Makefile and the build call; nothing here is shipped."""
