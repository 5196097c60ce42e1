"""``python -m medclipsam_monai`` is ``medclipsam``."""

from __future__ import annotations

from medclipsam_monai.cli.main import main

if __name__ == "__main__":
    main()
