"""How Sphinx builds the site: Markdown in, plain HTML out, nothing fetched at any time."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version as version_of

# autodoc imports Airflow, which creates its home when it is imported.
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

# Every heading can be linked to, and a link to one that is not there is a warning, hence an error.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nitpicky = True
nitpick_ignore_regex = [
    # Annotations name types of Airflow, requests, the standard library and our own inner rings;
    # without an index of theirs, which would have to be fetched, they cannot be links.
    (r"py:.*", r"(?!airflow_provider_buildpixel\.).*"),
    (r"py:.*", r"airflow_provider_buildpixel\.(client|core|plugins)\..*"),
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80
