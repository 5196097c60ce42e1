"""What to look for, in words: classes, their sentences and their opposites."""

from __future__ import annotations

from medclipsam_monai.prompts.targets import TextTarget, parse_targets

__all__ = ["TextTarget", "parse_targets"]
