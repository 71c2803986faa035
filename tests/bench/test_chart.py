"""The growth chart: valid SVG, three panels, drawn from a kept result alone."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest

from tokenledger_dagster.bench.chart import growth_svg, panels
from tokenledger_dagster.bench.results import read_result
from tokenledger_dagster.contracts.bench import BenchResult
from tokenledger_dagster.errors import TokenLedgerError

SVG = "{http://www.w3.org/2000/svg}"
KEPT = Path(__file__).resolve().parents[2] / "docs" / "performance" / "growth.json"


@pytest.fixture
def result() -> BenchResult:
    return read_result(KEPT)


def test_chart_is_svg_with_a_point_for_every_size(result: BenchResult) -> None:
    drawn = ElementTree.fromstring(growth_svg(result))

    sizes = len({scenario.corpus.bytes for scenario in result.scenarios if scenario.name == "cold-backfill"})
    assert drawn.tag == f"{SVG}svg"
    assert len(drawn.findall(f"{SVG}circle")) == 3 * sizes
    texts = {found.text for found in drawn.findall(f"{SVG}text")}
    assert {"First reading", "Nothing changed", "1 % appended", "logs, MB", "files", "new bytes, MB"} <= texts


def test_everything_lies_inside_the_picture(result: BenchResult) -> None:
    drawn = ElementTree.fromstring(growth_svg(result))
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])

    for line in drawn.findall(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_equal_results_make_equal_pictures(result: BenchResult) -> None:
    again = msgspec.json.decode(msgspec.json.encode(result), type=BenchResult)

    assert growth_svg(again) == growth_svg(result)


def test_one_size_alone_can_be_drawn(result: BenchResult) -> None:
    one = msgspec.structs.replace(result, scenarios=result.scenarios[:2])

    assert [len(panel.points) for panel in panels(one)] == [1, 1, 1]
    ElementTree.fromstring(growth_svg(one))


def test_result_without_the_steps_cannot_be_drawn(result: BenchResult) -> None:
    with pytest.raises(TokenLedgerError, match="tokenledger bench growth"):
        growth_svg(msgspec.structs.replace(result, scenarios=[]))


def test_committed_picture_is_that_of_the_committed_result(result: BenchResult) -> None:
    assert (KEPT.parents[1] / "images" / "growth.svg").read_text("utf-8") == growth_svg(result), "make bench-chart"
