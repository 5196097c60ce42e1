"""What to look for, in words: classes, their sentences and their opposites; prompt sets with levels and wordings."""

from __future__ import annotations

from medclipsam_monai.prompts.prompt_set import LEVELS, PromptSet, load_prompt_set, prompt_set_names, read_prompts
from medclipsam_monai.prompts.targets import OppositesLike, TextLike, TextTarget, WordlessTarget, parse_targets

__all__ = [
    "LEVELS",
    "OppositesLike",
    "PromptSet",
    "TextLike",
    "TextTarget",
    "WordlessTarget",
    "load_prompt_set",
    "parse_targets",
    "prompt_set_names",
    "read_prompts",
]
