"""Words without I/O that every other package may use: ids, facts, errors, time, digests."""
