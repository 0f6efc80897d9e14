"""Build hook: a wheel carries the browser libraries, which git does not."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebAssets(BuildHookInterface):  # type: ignore[type-arg]
    """Fetch the pinned libraries before the files of a wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is missing; a failure is told and leaves a wheel without them."""
        if version == "editable":
            return  # `make setup` fetches them into the working tree
        tool = _tool(Path(self.root))
        try:
            tool.fetch()
        except tool.AssetsUnavailable as reason:
            self.app.display_warning(
                f"built without the browser libraries ({reason}): its pages will be plainer"
            )


def _tool(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "fetch_web_assets", root / "tools" / "fetch_web_assets.py"
    )
    if spec is None or spec.loader is None:
        raise FileNotFoundError("tools/fetch_web_assets.py is missing from the source tree")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
