"""AI that looks at a study before anyone reads it: shelf, runs, hints; never a judgement."""

from ai_assist.level import Level

__all__ = ["Level"]
