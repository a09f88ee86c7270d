"""What a caller may submit, as tables for people. Prints nothing."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from rich.table import Table
from rich.text import Text

from ims_gateway_client.cli.console import plain
from imsgateway.v1.access_service_pb2 import ListAlgorithmsResponse

_MICROS: Final = 1_000_000
_ANY: Final = ["*"]

Rule = ListAlgorithmsResponse.Rule


def algorithm_table(found: ListAlgorithmsResponse) -> Table:
    """Return one row an algorithm: whether it may be used, by which rules, at which price."""
    priced = any(one.prices for one in found.algorithms)
    table = _table("ALGORITHM", "ALLOWED", "RULES", *(["PRICE"] if priced else []))
    for one in found.algorithms:
        table.add_row(
            one.algorithm.replace("_", "-"),
            Text("yes", "green") if one.allowed else Text("no", "red"),
            plain(", ".join(one.rules)) or "none",
            *(["; ".join(map(price_text, one.prices)) or "none"] if priced else []),
        )
    return table


def rule_table(found: ListAlgorithmsResponse) -> Table:
    """Return one row a rule: what it allows or denies, and up to where."""
    table = _table("RULE", "EFFECT", "APPLIES TO", "READ", "WRITE", "CEILINGS")
    for rule in found.rules:
        allows = rule.effect == Rule.EFFECT_ALLOW
        table.add_row(
            plain(rule.rule),
            Text("allow", "green") if allows else Text("deny", "red"),
            plain(rule.subject),
            *(plain("\n".join(patterns)) or "nothing" for patterns in (rule.read, rule.write)),
            plain("\n".join(_ceilings(rule))) or "none",
        )
    return table


def price_text(price: ListAlgorithmsResponse.Price) -> str:
    """Return a price, such as "0.1 CNY + 0.02 CNY a minute"."""
    amounts = (
        f"{Decimal(micros) / _MICROS:f} {plain(price.currency)}{unit}"
        for micros, unit in ((price.flat_micros, ""), (price.micros_per_minute, " a minute"))
        if micros
    )
    text = " + ".join(amounts) or "free"
    return f"{plain(price.model)}: {text}" if price.model else text


def _ceilings(rule: Rule) -> Iterable[str]:
    if rule.max_priority:
        yield f"priority {rule.min_priority} to {rule.max_priority}"
    for name in ("models", "pipelines", "templates"):
        patterns = list(getattr(rule, name))
        if patterns != _ANY:
            yield f"{name} {', '.join(patterns)}"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
