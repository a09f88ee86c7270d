"""Who imports whom, who reads the environment, and where an algorithm may be named."""

import ast
from functools import cache
from pathlib import Path

import pytest

import ims_gateway
from ims_gateway.algorithms.table import TABLE

PACKAGE = Path(ims_gateway.__file__).parent
IMPURE = {"aiohttp", "grpc", "grpc_health", "grpc_reflection", "grpc_status", "httpx", "sqlalchemy"}
PURE = (
    "errors",
    "preview",
    "settlement",
    "validation",
    "violations",
    "algorithms/*",
    "identity/authenticator",
    "identity/key_set",
    "identity/key_sets",
    "identity/keys",
    "identity/principal",
    "identity/tokens",
    "policy/*",
    "quota/*",
    "tenancy/*",
    "jobs/record",
    "jobs/spec",
    "jobs/states",
    "upstream/errors",
    "upstream/redaction",
    "upstream/reply",
    "upstream/signature",
)


def modules(pattern="**/*"):
    """Return the files of modules whose path within the package fits."""
    return sorted(PACKAGE.glob(f"{pattern}.py"))


def name_of(path):
    """Return the dotted name of a module's file."""
    parts = ("ims_gateway", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in modules()}
PURE_MODULES = [name_of(path) for pattern in PURE for path in modules(pattern)]


@cache
def parsed(name):
    """Return a module's syntax tree."""
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


@cache
def imports(name):
    """Return the dotted names that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def reached(name):
    """Return the names of our modules that come with a module, itself and packages included."""
    found, more = set(), {name}
    while more:
        found |= more
        parents = {each.rpartition(".")[0] for each in more}
        more = (parents | {each for known in more for each in imports(known)}) & FILES.keys()
        more -= found
    return found


def test_the_list_of_pure_modules_is_not_empty():
    """A pattern that fits nothing would hold nothing."""
    for pattern in PURE:
        assert modules(pattern), pattern


@pytest.mark.parametrize("name", PURE_MODULES)
def test_a_module_that_only_decides_brings_neither_grpc_nor_http_nor_sql(name):
    """Not even by way of another module of ours."""
    guilty = {
        f"{each} imports {imported}"
        for each in reached(name)
        for imported in imports(each)
        if imported.partition(".")[0] in IMPURE
    }

    assert not guilty


def test_the_emulator_stands_apart():
    """It must not agree with the gateway because it is the gateway."""
    for name in FILES:
        if name.startswith("ims_gateway.emulator"):
            ours = {each for each in imports(name) if each.startswith("ims_gateway")}
            assert all(each.startswith("ims_gateway.emulator") for each in ours), name


def test_only_what_runs_the_emulator_imports_it():
    """A gateway in production comes without."""
    users = {
        name
        for name in FILES
        if not name.startswith("ims_gateway.emulator")
        and any(each.startswith("ims_gateway.emulator") for each in imports(name))
    }

    assert {name.split(".")[1] for name in users} <= {"cli", "sandbox"}


def test_arrows_point_one_way():
    """The servicers use the pipeline, the pipeline its nouns, and none of them looks back."""
    above = ("ims_gateway.api", "ims_gateway.app", "ims_gateway.cli", "ims_gateway.sandbox")
    nouns = (
        "identity",
        "tenancy",
        "policy",
        "quota",
        "jobs",
        "algorithms",
        "upstream",
        "telemetry",
    )
    for name in FILES:
        if name.split(".")[1:2] and name.split(".")[1] in nouns:
            for each in imports(name):
                assert not each.startswith((*above, "ims_gateway.submission")), f"{name}: {each}"


def test_only_settings_read_the_environment():
    """A variable that is read elsewhere is a setting that nobody finds."""
    readers = {
        name
        for name in FILES
        for node in ast.walk(parsed(name))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
    }

    assert readers == {"ims_gateway.settings"}


def docstrings(tree):
    """Return the constants of a tree that are docstrings."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, kinds))
    return {
        id(body[0].value)
        for body in bodies
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    }


def words(tree):
    """Yield every word that a tree acts on: names, attributes, and texts that are keys or paths."""
    left_out = docstrings(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.keyword(arg=str(word)):
                yield word
            case ast.Constant(value=str(text)) if id(node) not in left_out:
                yield from text.split(".")


def test_an_algorithm_is_named_in_the_table_alone():
    """In two modules of logic, it would be a branch where a row belongs."""
    names = {name for row in TABLE for name in (row.field, row.function_name)}
    elsewhere = {
        f"{name}: {word}"
        for name in FILES
        if name != "ims_gateway.algorithms.table"
        # Its own table; and a first look for people, who want to see something.
        and not name.startswith(("ims_gateway.emulator", "ims_gateway.sandbox"))
        for word in words(parsed(name))
        if word in names
    }

    assert not elsewhere


def test_nothing_happens_at_import():
    """No module starts or changes anything before somebody calls it."""
    # Typer's commands and SQLAlchemy's indexes are declared by calls; alembic runs its env.
    declarations = {f"ims_gateway.{name}" for name in ("cli.commands", "jobs.schema")}
    declarations |= {"ims_gateway.jobs.migrations.env"}
    acting = {
        f"{name}: line {node.lineno}"
        for name in FILES.keys() - declarations
        for node in parsed(name).body
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    }

    assert not acting
