"""The app's tasks by the names that clients show."""

from __future__ import annotations

from lib.configs.active_learning import ActiveLearning
from lib.configs.clicks import Clicks
from lib.configs.text import Text
from lib.configs.weak import Weak

CONFIGS = {"text": Text, "clicks": Clicks, "weak": Weak, "active_learning": ActiveLearning}
