import ast
import importlib
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "clients/python/README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_snippets_of_the_readme_fit_the_library(snippet):
    """Each compiles, and what it imports exists."""
    tree = ast.parse(snippet)
    compile(snippet, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        module = importlib.import_module(node.module)
        assert all(hasattr(module, alias.name) for alias in node.names)
