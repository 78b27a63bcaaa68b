"""What hatchling runs before it packs: the studio's and the report's pages are built, or nothing is packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = "src/limner/assets/web"
NEEDED = ("studio/index.html", "studio/THIRD-PARTY.md", "report.html")


class PagesAreBuilt(BuildHookInterface):  # type: ignore[type-arg]
    """Refuses to pack a limner whose studio would have no page to show."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises FileNotFoundError: a page is missing. An editable install goes without; `make web` gives it its pages."""
        if version == "editable":
            return
        missing = [name for name in NEEDED if not (Path(self.root) / BUILT / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{BUILT} has no {', no '.join(missing)}, but a package without them has no studio and no report. "
                "Run `make web` first."
            )
