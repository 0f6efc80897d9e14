"""Everything durable: database, journal and packs, archive index, outbox, audit chain."""
