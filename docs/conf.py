"""Sphinx configuration: builds the site from Markdown, without any network access."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version as version_of

# autodoc imports Airflow, and the import creates AIRFLOW_HOME.
home = tempfile.mkdtemp(prefix="buildpixel-docs-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = home

project = "airflow-provider-buildpixel"
author = "The authors of airflow-provider-buildpixel"
version = release = version_of(project)
html_title = f"BuildPixel for Airflow {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_show_copyright = False
html_copy_source = False

# Headings get anchors; a link to a missing anchor is a warning, and the build fails on warnings.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
INTERNAL = "api|asset_events|builds|channel|downloads|page|plugins|tasks|waits"
nitpicky = True
nitpick_ignore_regex = [
    # Annotations name types of Airflow, requests, the standard library and our internal modules.
    # Links to them would need their object inventories, which would have to be downloaded.
    (r"py:.*", r"(?!airflow_provider_buildpixel\.).*"),
    (r"py:.*", rf"airflow_provider_buildpixel\.({INTERNAL})\..*"),
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80
