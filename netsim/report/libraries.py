"""The libraries that only a report needs: the extra ``report``."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

from netsim.errors import InputError

NEEDED = {"altair": "altair", "vl_convert": "vl-convert-python"}


NOT_INSTALLED: Final = "none: pip install -c constraints.txt -e '.[report]' for an SVG"


def altair_if_installed() -> Any | None:
    """Return the module ``altair`` if it can write SVG here."""
    try:
        importlib.import_module("vl_convert")
        return importlib.import_module("altair")
    except ImportError:
        return None


def require_drawing() -> None:
    """Refuse to go on where one of them is not installed."""
    missing = [NEEDED[n] for n in NEEDED if importlib.util.find_spec(n) is None]
    if missing:
        raise InputError(
            f"netsim report needs {' and '.join(missing)}: "
            "pip install -c constraints.txt -e '.[report]'"
        )


def drawing_script() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script of about 0.9 MB."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    script: str = vl_convert.javascript_bundle(vl_version=version)
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--")
